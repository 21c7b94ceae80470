"""Billable Actions of a workflow and of the workflows it starts, from its history.

What counts is Temporal's own table (docs.temporal.io/cloud/actions): a start, an update, a signal, a timer and an
activity are one each, and so is a retry of an activity; the start of a child workflow is two. A workflow that goes on
as a new one leaves a history behind, which counts too, and so does going on.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

PRICED = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: 1,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_MARKER_RECORDED: 1,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 2,
}


async def of(client: Client, workflow_id: str) -> dict[str, int]:
    """Actions, and bytes of history, of one workflow with its children. Its own start is counted by the caller."""
    total = {"actions": 0, "history_bytes": 0}
    waiting: list[tuple[str, str | None]] = [(workflow_id, None)]
    while waiting:
        current, run_id = waiting.pop()
        handle = client.get_workflow_handle(current, run_id=run_id)
        async for event in handle.fetch_history_events():
            total["actions"] += PRICED.get(event.event_type, 0) + _retries(event)
            total["history_bytes"] += event.ByteSize()
            if before := event.workflow_execution_started_event_attributes.continued_execution_run_id:
                total["actions"] += 1
                waiting.append((current, before))
            if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                waiting.append((child.workflow_id, child.run_id))
    return total


def _retries(event: Any) -> int:
    if event.event_type != EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
        return 0
    return event.activity_task_started_event_attributes.attempt - 1
