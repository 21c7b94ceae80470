"""The ancestor's import path for request and response types. There are no workflows: nothing is replayed."""

from rojak_ray.sessions.types import GetConfigResponse as GetConfigResponse
from rojak_ray.sessions.types import OrchestratorBaseParams as OrchestratorBaseParams
from rojak_ray.sessions.types import OrchestratorParams as OrchestratorParams
from rojak_ray.sessions.types import OrchestratorResponse as OrchestratorResponse
from rojak_ray.sessions.types import SendMessagesParams as SendMessagesParams
from rojak_ray.sessions.types import ShortOrchestratorParams as ShortOrchestratorParams
from rojak_ray.sessions.types import UpdateConfigParams as UpdateConfigParams

__all__ = [
    "GetConfigResponse",
    "OrchestratorBaseParams",
    "OrchestratorParams",
    "OrchestratorResponse",
    "SendMessagesParams",
    "ShortOrchestratorParams",
    "UpdateConfigParams",
]
