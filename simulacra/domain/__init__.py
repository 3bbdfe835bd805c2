"""The domain: generators, synthetic datasets and all that belongs to them, as pydantic classes.

Each class has the name and the fields of a message of `proto/simulacra/v1`, whose comments define them; there
is one module for each resource. Objects are checked when they are made and whenever a field is set; what is
wrong comes with the path of the field and a hint. The package knows no transport, scheduler or database.

    config = GeneratorConfig(name="census", tables=[SourceTableConfig(name="people", data=parquet_bytes)])

`simulacra.wire` turns these objects into messages and back.
"""

from simulacra.domain.base import (
    MAX_INLINE_BYTES,
    Model,
    invalid_argument,
)
from simulacra.domain.common import (
    BaseResource,
    Metadata,
    PaginatedTotalCount,
    PermissionLevel,
    Provenance,
    ProvenanceBundle,
    ProvenanceSource,
    ReportFormat,
)
from simulacra.domain.compute import (
    Compute,
    ComputeConfig,
    ComputeListItem,
    ComputeResources,
    ComputeType,
)
from simulacra.domain.connector import (
    ColumnSchema,
    Connector,
    ConnectorAccessType,
    ConnectorConfig,
    ConnectorField,
    ConnectorFieldType,
    ConnectorListItem,
    ConnectorType,
    ConnectorTypeDescription,
    ConnectorUsage,
    ForeignKeySchema,
    TableSchema,
    connector_config,
    connector_list_item,
)
from simulacra.domain.generator import (
    Generator,
    GeneratorCloneTrainingStatus,
    GeneratorConfig,
    GeneratorImportFromFileConfig,
    GeneratorListItem,
    GeneratorUsage,
    GeneratorView,
    generator_config,
    generator_list_item,
)
from simulacra.domain.job import (
    Job,
    JobEstimate,
    JobKind,
    JobLogLine,
    JobProgress,
    LogLevel,
    ProgressStatus,
    ProgressStep,
    ProgressValue,
    StepCode,
)
from simulacra.domain.metrics import (
    Accuracy,
    Distances,
    ModelMetrics,
    Similarity,
)
from simulacra.domain.model import (
    DifferentialPrivacyConfig,
    ModelConfiguration,
    ModelEncodingType,
    ModelType,
    RareCategoryReplacementMethod,
)
from simulacra.domain.notification import (
    Notification,
    NotificationStatus,
    NotificationType,
)
from simulacra.domain.platform import (
    MODELS,
    AboutService,
    ModelDescription,
)
from simulacra.domain.probe import (
    Probe,
    SyntheticProbeConfig,
)
from simulacra.domain.qa import (
    ColumnScore,
    DataLocation,
    PairScore,
    ScoreBin,
)
from simulacra.domain.sampling import (
    check_tables,
)
from simulacra.domain.sharing import (
    Share,
)
from simulacra.domain.source_table import (
    SourceColumn,
    SourceColumnConfig,
    SourceColumnValueRange,
    SourceForeignKey,
    SourceForeignKeyConfig,
    SourceTable,
    SourceTableAddConfig,
    SourceTableConfig,
    key_columns,
    source_table_config,
    unknown_columns,
)
from simulacra.domain.synthetic_dataset import (
    SyntheticDataset,
    SyntheticDatasetConfig,
    SyntheticDatasetDelivery,
    SyntheticDatasetFormat,
    SyntheticDatasetListItem,
    SyntheticDatasetUsage,
    synthetic_dataset_config,
    synthetic_dataset_list_item,
)
from simulacra.domain.synthetic_table import (
    FairnessConfig,
    ForeignKey,
    ImputationConfig,
    RebalancingConfig,
    SyntheticTable,
    SyntheticTableConfig,
    SyntheticTableConfiguration,
)
from simulacra.domain.text import (
    did_you_mean,
)
from simulacra.domain.upload import (
    Upload,
)
from simulacra.domain.user import (
    ApiKey,
    Credits,
    CurrentUser,
    ParallelGenerationJobs,
    ParallelTrainingJobs,
    User,
    UserSettingsAssistantUpdateConfig,
    UserSettingsProfileUpdateConfig,
    UserSettingsUpdateConfig,
    UserUsage,
)

__all__ = [
    "MAX_INLINE_BYTES",
    "MODELS",
    "AboutService",
    "Accuracy",
    "ApiKey",
    "BaseResource",
    "ColumnSchema",
    "ColumnScore",
    "Compute",
    "ComputeConfig",
    "ComputeListItem",
    "ComputeResources",
    "ComputeType",
    "Connector",
    "ConnectorAccessType",
    "ConnectorConfig",
    "ConnectorField",
    "ConnectorFieldType",
    "ConnectorListItem",
    "ConnectorType",
    "ConnectorTypeDescription",
    "ConnectorUsage",
    "Credits",
    "CurrentUser",
    "DataLocation",
    "DifferentialPrivacyConfig",
    "Distances",
    "FairnessConfig",
    "ForeignKey",
    "ForeignKeySchema",
    "Generator",
    "GeneratorCloneTrainingStatus",
    "GeneratorConfig",
    "GeneratorImportFromFileConfig",
    "GeneratorListItem",
    "GeneratorUsage",
    "GeneratorView",
    "ImputationConfig",
    "Job",
    "JobEstimate",
    "JobKind",
    "JobLogLine",
    "JobProgress",
    "LogLevel",
    "Metadata",
    "Model",
    "ModelConfiguration",
    "ModelDescription",
    "ModelEncodingType",
    "ModelMetrics",
    "ModelType",
    "Notification",
    "NotificationStatus",
    "NotificationType",
    "PaginatedTotalCount",
    "PairScore",
    "ParallelGenerationJobs",
    "ParallelTrainingJobs",
    "PermissionLevel",
    "Probe",
    "ProgressStatus",
    "ProgressStep",
    "ProgressValue",
    "Provenance",
    "ProvenanceBundle",
    "ProvenanceSource",
    "RareCategoryReplacementMethod",
    "RebalancingConfig",
    "ReportFormat",
    "ScoreBin",
    "Share",
    "Similarity",
    "SourceColumn",
    "SourceColumnConfig",
    "SourceColumnValueRange",
    "SourceForeignKey",
    "SourceForeignKeyConfig",
    "SourceTable",
    "SourceTableAddConfig",
    "SourceTableConfig",
    "StepCode",
    "SyntheticDataset",
    "SyntheticDatasetConfig",
    "SyntheticDatasetDelivery",
    "SyntheticDatasetFormat",
    "SyntheticDatasetListItem",
    "SyntheticDatasetUsage",
    "SyntheticProbeConfig",
    "SyntheticTable",
    "SyntheticTableConfig",
    "SyntheticTableConfiguration",
    "TableSchema",
    "Upload",
    "User",
    "UserSettingsAssistantUpdateConfig",
    "UserSettingsProfileUpdateConfig",
    "UserSettingsUpdateConfig",
    "UserUsage",
    "check_tables",
    "connector_config",
    "connector_list_item",
    "did_you_mean",
    "generator_config",
    "generator_list_item",
    "invalid_argument",
    "key_columns",
    "source_table_config",
    "synthetic_dataset_config",
    "synthetic_dataset_list_item",
    "unknown_columns",
]
