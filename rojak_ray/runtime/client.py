"""`Rojak`: the client of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from rojak_ray.checks import check_flag, check_kind, check_mapping, check_number, check_text, shown
from rojak_ray.errors import InvalidSetting, InvalidStorage, RayUnavailable
from rojak_ray.ids import check_id
from rojak_ray.reign.reign import Standing
from rojak_ray.runtime import cluster
from rojak_ray.runtime.settings import AUTO_HOSTS, MOST_HOSTS, Placement, RuntimeSettings
from rojak_ray.schedules.client import SchedulingClient
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.open import resolve_options, resolve_storage

_MOST_STEP_WORKERS = 1024


class Rojak(SchedulingClient):
    """Durable multi-agent orchestration on Ray.

    Cheap to construct; it connects on the first use or in `async with`. Actors it starts are detached: on a cluster
    they go on when this program ends. A Ray that was started here ends with this process, and the next one on the
    same storage goes on with what was unfinished.

    Example:
        async with Rojak() as rojak:
            response = await rojak.run(agent=agent, messages="Book a table for 4 guests.")
            print(response.messages[-1].content)
    """

    def __init__(
        self,
        storage: str | os.PathLike[str] | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        address: str | None = None,
        namespace: str = "rojak",
        placement: Placement = "auto",
        hosts: int | Literal["auto"] = "auto",
        step_workers: int | None = None,
        pool: PoolSettings | None = None,
        ray_options: Mapping[str, Any] | None = None,
        takeover: bool = False,
    ) -> None:
        """Make a client.

        Of several clusters on one storage and namespace one works. The others stand by: they take registrations and
        answer from storage, and refuse with `StandsBy` what would change something.

        Args:
            storage: URL (`s3://`, `gs://`, `az://`, `file://`) or path; None reads ROJAK_STORAGE, else uses a folder
                under the home directory.
            storage_options: What a bucket's URL does not say, such as `{"requester_pays": True}`; docs/operations.md
                has them all. Never credentials. None reads ROJAK_STORAGE_OPTIONS (JSON).
            address: Ray cluster to join, as `ray.init` takes it; None joins RAY_ADDRESS, or the last
                cluster that `ray start` began here, or starts Ray here.
            namespace: One installation: functions, providers, sessions and runs of two namespaces never meet.
            placement: "auto" gives each session an actor of its own while there is room (two for each CPU, within a
                quarter of the memory) and lets the others share the hosts that one-shot runs use; "dedicated" and
                "shared" do one of both with all of them. The first client of a namespace decides.
            hosts: Number of shared hosts; "auto" means one for each four CPUs of the cluster, and two at least, also
                when nodes come and go; what works meanwhile stays where it is. Like `placement` it is decided by the
                first client of a namespace.
            step_workers: Step workers on each node; None means one.
            pool: How long idle conversations stay in memory.
            ray_options: Arguments of `ray.init` for a Ray that is started here.
            takeover: Let this cluster work, whichever one does now: that one lets its running steps end for a minute
                and hands everything over.

        Raises:
            InvalidStorage: The storage, or one of its options, cannot be used.
            InvalidId: The namespace is not a usable name.
            InvalidSetting: One of the others is not among the choices.
            RayUnavailable: Ray is not installed, or not readable for this user.
        """
        url = resolve_storage(storage, os.environ)
        if url.startswith("memory:"):
            raise InvalidStorage(
                "memory:// is not shared between processes, so nothing on it would survive. Use a path or a bucket, "
                "or testing.InProcessRuntime for tests."
            )
        settings = RuntimeSettings(
            namespace=check_id(namespace, "namespace"),
            storage=url,
            storage_options=resolve_options(url, storage_options, os.environ),
            placement=_placement(placement),
            hosts=_hosts(hosts),
            step_workers=_step_workers(step_workers),
            pool=check_kind(pool, "pool", InvalidSetting, PoolSettings) if pool is not None else PoolSettings(),
        )
        options = check_mapping(ray_options, "ray_options", InvalidSetting) if ray_options is not None else {}
        if address is not None:
            check_text(address, "address", InvalidSetting, why='Write "host:port", "auto" or "local", or leave it out.')
        check_flag(takeover, "takeover", InvalidSetting)
        cluster.prepare_environment()
        try:
            # These import Ray, which reads the environment just prepared.
            from rojak_ray.runtime.gateway import RayGateway
            from rojak_ray.runtime.scheduler_access import RayScheduler
        except ImportError as error:
            raise RayUnavailable(
                f"Ray cannot be imported here: {error}. Install rojak-ray's dependencies, and see that this user can "
                "read them."
            ) from error

        gateway = RayGateway(settings, lambda: cluster.connect(address, options), takeover=takeover)
        super().__init__(gateway, RayScheduler(gateway), ids=gateway.ids)
        self._gateway_on_ray = gateway

    @property
    def settings(self) -> RuntimeSettings:
        """What this installation is set up with; once connected, what its first client decided."""
        return self._gateway_on_ray.settings

    async def standing(self) -> Standing:
        """Whether this cluster works on its storage, or stands by and for whom: `.duty`, `.ruler`, `.number`.

        Raises:
            StoreUnavailable: The cluster does not answer.

        Example:
            print((await rojak.standing()).duty)
        """
        await self._gateway_on_ray.connect()
        return await self._gateway_on_ray.standing()

    async def take_over(self, *, request_id: str | None = None) -> None:
        """Let this cluster work on its storage, whichever one does now; `standing` tells when it does.

        Args:
            request_id: Names this request, so that it may be repeated: a cluster that has taken over since then goes
                on.

        Crash safety:
            Repeat it until `standing` says so: it is durable from then on. Steps that run elsewhere end there, within
            a minute; nothing runs twice.

        Example:
            await rojak.take_over(request_id="after-the-move")
            print((await rojak.standing()).duty)
        """
        named = check_id(request_id, "request") if request_id is not None else None
        await self._gateway_on_ray.connect()
        await self._gateway_on_ray.take_over(named)


def _placement(given: Any) -> Placement:
    choices: tuple[Placement, ...] = get_args(Placement)
    for choice in choices:
        if isinstance(given, str) and given == choice:
            return choice
    raise InvalidSetting(f"placement={shown(given)} is not a choice; write one of {', '.join(map(repr, choices))}.")


def _hosts(given: Any) -> int:
    if given is None or (isinstance(given, str) and given == "auto"):
        return AUTO_HOSTS
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MOST_HOSTS:
        raise InvalidSetting(f'hosts={shown(given)} is not a choice; write "auto" or a number from 1 to {MOST_HOSTS}.')
    return given


def _step_workers(given: object) -> int:
    if given is None:
        return 1
    return int(check_number(given, "step_workers", InvalidSetting, least=1, most=_MOST_STEP_WORKERS, whole=True))
