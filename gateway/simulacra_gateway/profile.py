"""What a user is told about themselves: profile, settings, usage."""

from simulacra.domain import CurrentUser, ParallelGenerationJobs, ParallelTrainingJobs, UserUsage
from simulacra.errors import ResourceNotFound
from simulacra.rpc import Principal
from simulacra.v1 import job_pb2
from simulacra_gateway.board import Board
from simulacra_gateway.store import GatewayStore

__all__ = ["Profiles"]


class Profiles:
    """Reads users; running jobs are counted on the board."""

    def __init__(self, store: GatewayStore, board: Board) -> None:
        self._store = store
        self._board = board

    async def current(self, principal: Principal) -> CurrentUser:
        """Returns the caller.

        Raises:
            ResourceNotFound: If the user was deleted a moment ago.
        """
        user = await self._store.user(principal.user_id)
        if user is None:
            raise ResourceNotFound(
                f"there is no user {principal.user_id!r}", id=principal.user_id, resource="user"
            )
        usage = UserUsage(
            parallel_training_jobs=ParallelTrainingJobs(
                current=self._running(principal, job_pb2.JOB_KIND_TRAINING),
                limit=user["parallel_training_jobs"],
            ),
            parallel_generation_jobs=ParallelGenerationJobs(
                current=self._running(principal, job_pb2.JOB_KIND_GENERATION),
                limit=user["parallel_generation_jobs"],
            ),
        )
        return CurrentUser(
            id=user["id"],
            first_name=user["first_name"],
            last_name=user["last_name"],
            email=user["email"],
            settings=user["settings"],
            usage=usage,
        )

    def _running(self, principal: Principal, kind: int) -> int:
        return sum(
            state.owner_id == principal.user_id
            and state.kind == kind
            and state.status == job_pb2.PROGRESS_STATUS_IN_PROGRESS
            for state in self._board.unended()
        )
