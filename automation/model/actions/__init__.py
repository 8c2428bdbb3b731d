"""Everything Mainstay can do: one class per action, named by its address.

`do: "dns.swap_address"` is performed by `automation.adapters.dns.swap_address(action, ctx)`.
`effect` tells how far it reaches; `fault` actions exist for labs alone.
"""

from typing import Annotated

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.actions.baseline import (
    CollectAccountFacts,
    CollectFacts,
    CollectVcenterFacts,
    EnforceAccount,
    EnforceSettings,
    EnforceVcenter,
    ExpectFacts,
    UndoAccount,
    UndoSettings,
    UndoVcenter,
)
from automation.model.actions.databases import (
    CheckStanza,
    DumpDatabase,
    ExamineCluster,
    ExpireBackups,
    LoadDump,
    RemoveCluster,
    RestoreCluster,
    TakeBackup,
)
from automation.model.actions.devices import (
    AcceptPolicy,
    ClearDoubt,
    FetchConfig,
    LengthenLocks,
    MarkPoints,
    ProveConfig,
    RecoverCopy,
    TryDelete,
)
from automation.model.actions.drills import (
    CreateIsolated,
    DrillLook,
    ListArchive,
    ListClusters,
    ListFolders,
    ListServers,
    LookAtPilot,
    LookAtRestored,
    ProveImage,
    ProveIsolated,
    ProveService,
    ProveSnapshot,
    RemoveServer,
    Target,
)
from automation.model.actions.hosts import (
    AwaitReady,
    LookAtHost,
    LookAtSecrets,
    RunPlaybook,
    StartUnit,
)
from automation.model.actions.lab import (
    BlockServer,
    BuildImage,
    CreateServer,
    CutLink,
    DarkenSite,
    FailSite,
    HealLink,
    HealSite,
    HoldServer,
    InspectDisk,
    LabAction,
    LookAtServer,
    MakeKeys,
    PartitionSite,
    PowerOffServer,
    RejoinSite,
    RestoreDisks,
    RestoreManagement,
    SaveDisks,
    StartLab,
    StartServer,
    StartSimulator,
    UnblockServer,
)
from automation.model.actions.people import AskPlayers, Confirm, Inject
from automation.model.actions.pilot import (
    AwaitReplica,
    BlockDatabase,
    BlockInstance,
    CreateReplica,
    DeleteDatabase,
    FenceInstance,
    ListRegion,
    PilotAction,
    PromoteReplica,
    ProveSubnet,
    ReleaseDatabase,
    ReleaseInstance,
    RemoveDatabase,
    RemoveInstance,
    RenameDatabase,
    RestoreDatabase,
    SaveDatabase,
    SwapRecord,
)
from automation.model.actions.points import (
    CheckVault,
    CopyVaultPoints,
    DeleteVaultPoints,
    RemoveRollbacks,
    TakeDatabaseSnapshot,
    TakeImage,
    TakeRollback,
    TakeSnapshots,
)
from automation.model.actions.restic import (
    BreakLock,
    CheckRepository,
    ClearScratch,
    CopyPoints,
    ForgetPoints,
    ProveFiles,
    ReclaimSpace,
    RestoreFiles,
    TakeFiles,
)
from automation.model.actions.roles import (
    AwaitReplayed,
    Demote,
    DropSlot,
    ExportWrites,
    Follow,
    HoldDown,
    KeepData,
    KeepSynchronous,
    MakeSlot,
    ProveStandby,
    ReleaseServer,
    RestorePrimary,
    Rewind,
    StartFenced,
    StopUnit,
)
from automation.model.actions.runs import (
    AcceptLag,
    AwaitFailed,
    AwaitGood,
    AwaitWell,
    CiteDeclaration,
    ClearSuspicion,
    CollectWitness,
    Declare,
    Probe,
    ProveRefused,
    RunChecks,
    StartWitness,
    SuspectSplitBrain,
    Wait,
)
from automation.model.actions.servers import (
    AdoptInstance,
    AdoptVm,
    ChangeInstance,
    ChangePortGroup,
    ChangeSubnet,
    ChangeVm,
    CreateInstance,
    CreatePortGroup,
    CreateSubnet,
    CreateVm,
    DeleteKept,
    DeletePortGroup,
    DeleteSubnet,
    DestroyVm,
    FenceVm,
    LearnInstanceKey,
    LearnVmKey,
    PowerOnVm,
    ServerAction,
    ShutDownVm,
    StartInstance,
    StopInstance,
    TerminateInstance,
)
from automation.model.actions.services import (
    AwaitStreaming,
    CloneStandby,
    ListWrites,
    LookAtRecords,
    LookAtReplication,
    Promote,
    ReconcileServer,
    SwapAddress,
)
from automation.model.actions.vsphere import (
    AwaitReplicas,
    BlockVm,
    CopyReplica,
    ListVcenter,
    LookAtReplicas,
    ProvePortGroup,
    RegisterReplica,
    ReleaseVm,
    RemoveCopy,
    ReplicaAction,
    UnregisterVm,
)

__all__ = [
    "AcceptLag",
    "AcceptPolicy",
    "Action",
    "AdoptInstance",
    "AdoptVm",
    "AskPlayers",
    "AwaitFailed",
    "AwaitGood",
    "AwaitReady",
    "AwaitReplayed",
    "AwaitReplica",
    "AwaitReplicas",
    "AwaitStreaming",
    "AwaitWell",
    "BaseAction",
    "BlockDatabase",
    "BlockInstance",
    "BlockServer",
    "BlockVm",
    "BreakLock",
    "BuildImage",
    "ChangeInstance",
    "ChangePortGroup",
    "ChangeSubnet",
    "ChangeVm",
    "CheckRepository",
    "CheckStanza",
    "CheckVault",
    "CiteDeclaration",
    "ClearDoubt",
    "ClearScratch",
    "ClearSuspicion",
    "CloneStandby",
    "CollectAccountFacts",
    "CollectFacts",
    "CollectVcenterFacts",
    "CollectWitness",
    "Confirm",
    "CopyPoints",
    "CopyReplica",
    "CopyVaultPoints",
    "CreateInstance",
    "CreateIsolated",
    "CreatePortGroup",
    "CreateReplica",
    "CreateServer",
    "CreateSubnet",
    "CreateVm",
    "CutLink",
    "DarkenSite",
    "Declare",
    "DeleteDatabase",
    "DeleteKept",
    "DeletePortGroup",
    "DeleteSubnet",
    "DeleteVaultPoints",
    "Demote",
    "DestroyVm",
    "DropSlot",
    "DumpDatabase",
    "Effect",
    "EnforceAccount",
    "EnforceSettings",
    "EnforceVcenter",
    "ExamineCluster",
    "ExpectFacts",
    "ExpireBackups",
    "ExportWrites",
    "FailSite",
    "FenceInstance",
    "FenceVm",
    "FetchConfig",
    "Follow",
    "ForgetPoints",
    "HealLink",
    "HealSite",
    "HoldDown",
    "HoldServer",
    "Inject",
    "InspectDisk",
    "KeepData",
    "KeepSynchronous",
    "LearnInstanceKey",
    "LearnVmKey",
    "LengthenLocks",
    "ListArchive",
    "ListClusters",
    "ListFolders",
    "ListRegion",
    "ListServers",
    "ListVcenter",
    "ListWrites",
    "LoadDump",
    "LookAtHost",
    "LookAtPilot",
    "LookAtRecords",
    "LookAtReplicas",
    "LookAtReplication",
    "LookAtRestored",
    "LookAtSecrets",
    "LookAtServer",
    "MakeKeys",
    "MakeSlot",
    "MarkPoints",
    "PartitionSite",
    "PowerOffServer",
    "PowerOnVm",
    "Probe",
    "Promote",
    "PromoteReplica",
    "ProveConfig",
    "ProveFiles",
    "ProveImage",
    "ProveIsolated",
    "ProvePortGroup",
    "ProveRefused",
    "ProveService",
    "ProveSnapshot",
    "ProveStandby",
    "ProveSubnet",
    "ReclaimSpace",
    "ReconcileServer",
    "RecoverCopy",
    "RegisterReplica",
    "RejoinSite",
    "ReleaseDatabase",
    "ReleaseInstance",
    "ReleaseServer",
    "ReleaseVm",
    "RemoveCluster",
    "RemoveCopy",
    "RemoveDatabase",
    "RemoveInstance",
    "RemoveRollbacks",
    "RemoveServer",
    "RenameDatabase",
    "RestoreCluster",
    "RestoreDatabase",
    "RestoreDisks",
    "RestoreFiles",
    "RestoreManagement",
    "RestorePrimary",
    "Rewind",
    "RunChecks",
    "RunPlaybook",
    "SaveDatabase",
    "SaveDisks",
    "ShutDownVm",
    "StartFenced",
    "StartInstance",
    "StartLab",
    "StartServer",
    "StartSimulator",
    "StartUnit",
    "StartWitness",
    "StopInstance",
    "StopUnit",
    "SuspectSplitBrain",
    "SwapAddress",
    "SwapRecord",
    "TakeBackup",
    "TakeDatabaseSnapshot",
    "TakeFiles",
    "TakeImage",
    "TakeRollback",
    "TakeSnapshots",
    "Target",
    "TerminateInstance",
    "TryDelete",
    "UnblockServer",
    "UndoAccount",
    "UndoSettings",
    "UndoVcenter",
    "UnregisterVm",
    "Wait",
]

Action = Annotated[
    LabAction
    | ServerAction
    | AwaitReady
    | LookAtHost
    | LookAtSecrets
    | StartUnit
    | RunPlaybook
    | AwaitStreaming
    | LookAtReplication
    | Promote
    | CloneStandby
    | ListWrites
    | Demote
    | RestorePrimary
    | AwaitReplayed
    | MakeSlot
    | ProveStandby
    | DropSlot
    | Follow
    | KeepSynchronous
    | HoldDown
    | KeepData
    | ExportWrites
    | Rewind
    | StopUnit
    | StartFenced
    | ReleaseServer
    | LookAtRecords
    | SwapAddress
    | ReconcileServer
    | StartWitness
    | AwaitGood
    | AwaitWell
    | AwaitFailed
    | ProveRefused
    | CollectWitness
    | RunChecks
    | Wait
    | Declare
    | CiteDeclaration
    | SuspectSplitBrain
    | AcceptLag
    | ClearSuspicion
    | Confirm
    | Inject
    | AskPlayers
    | BreakLock
    | CheckRepository
    | ClearScratch
    | CopyPoints
    | ForgetPoints
    | ProveFiles
    | ReclaimSpace
    | RestoreFiles
    | TakeFiles
    | CheckStanza
    | DumpDatabase
    | ExamineCluster
    | ExpireBackups
    | LoadDump
    | RemoveCluster
    | RestoreCluster
    | TakeBackup
    | AcceptPolicy
    | ClearDoubt
    | FetchConfig
    | LengthenLocks
    | MarkPoints
    | ProveConfig
    | RecoverCopy
    | TryDelete
    | CreateIsolated
    | DrillLook
    | ProveService
    | RemoveServer
    | PilotAction
    | ReplicaAction
    | CheckVault
    | CopyVaultPoints
    | DeleteVaultPoints
    | RemoveRollbacks
    | TakeDatabaseSnapshot
    | TakeImage
    | TakeRollback
    | TakeSnapshots
    | CollectFacts
    | CollectAccountFacts
    | CollectVcenterFacts
    | ExpectFacts
    | EnforceSettings
    | UndoSettings
    | EnforceAccount
    | UndoAccount
    | EnforceVcenter
    | UndoVcenter,
    Field(discriminator="do"),
]
