"""Which actions cut power, which cut the network, and which make something the one that serves. Pure."""

from automation.model.actions import (
    BlockDatabase,
    BlockInstance,
    BlockServer,
    BlockVm,
    CreateInstance,
    FenceInstance,
    FenceVm,
    PowerOffServer,
    Promote,
    PromoteReplica,
    RegisterReplica,
    RestoreDatabase,
    SwapAddress,
    SwapRecord,
)

POWER = PowerOffServer | FenceVm | FenceInstance
NETWORK = BlockServer | BlockVm | BlockInstance | BlockDatabase
FENCE = POWER | NETWORK
# What makes VMs, a database or an instance of another site the ones that serve.
TAKING = RegisterReplica | PromoteReplica | RestoreDatabase | CreateInstance
PROMOTE = Promote | PromoteReplica | RegisterReplica
NAMES = SwapAddress | SwapRecord
