"""Fields of KubeRay's resources, by the CRD reference of KubeRay 1.5, and of pods as far as ours have them.

Every field that is not listed is refused, as the strict validation of an API server does.
"""

from __future__ import annotations

__all__ = ["RAY_CLUSTER", "RAY_JOB", "RAY_SERVICE"]

from typing import Any


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def _list(items: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
ANY = {"type": "object"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(m|[KMG]i)?$"}}
RESOURCES = _object(requests=QUANTITIES, limits=QUANTITIES)
SECURITY = _object(
    runAsNonRoot=FLAG, runAsUser=NUMBER, allowPrivilegeEscalation=FLAG, capabilities=_object(drop=_list(TEXT))
)
KEY = _object("name key", name=TEXT, key=TEXT)
SOURCE = _object(secretKeyRef=KEY, fieldRef=_object("fieldPath", fieldPath=TEXT))
VARIABLE = _object("name", name=TEXT, value=TEXT, valueFrom=SOURCE)
CONTAINER = _object(
    "name image resources securityContext",
    name=TEXT,
    image=TEXT,
    env=_list(VARIABLE),
    envFrom=_list(_object(secretRef=_object("name", name=TEXT))),
    resources=RESOURCES,
    securityContext=SECURITY,
    volumeMounts=_list(_object("name mountPath", name=TEXT, mountPath=TEXT)),
)
POD = _object(
    "spec",
    spec=_object(
        "containers securityContext",
        serviceAccountName=TEXT,
        automountServiceAccountToken={"type": "boolean"},
        securityContext=_object("runAsNonRoot", runAsNonRoot={"const": True}, runAsUser=NUMBER, fsGroup=NUMBER),
        tolerations=_list(_object("key operator effect", key=TEXT, operator=TEXT, effect=TEXT)),
        containers=_list(CONTAINER, least=1),
        volumes=_list(_object("name emptyDir", name=TEXT, emptyDir=_object(medium=TEXT, sizeLimit=TEXT))),
    ),
)
WORKERS = _object(
    "groupName minReplicas maxReplicas template",
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    numOfHosts=COUNT,
    idleTimeoutSeconds=COUNT,
    suspend=FLAG,
    resources=TEXTS,
    labels=TEXTS,
    rayStartParams=TEXTS,
    scaleStrategy=ANY,
    template=POD,
)
HEAD = _object(
    "template",
    serviceType={"const": "ClusterIP"},  # the field takes others, which would open the head to the world
    headService=ANY,
    enableIngress=FLAG,
    resources=TEXTS,
    labels=TEXTS,
    rayStartParams=TEXTS,
    template=POD,
)
CREDENTIAL = _object(value=TEXT, valueFrom=SOURCE)
RAY_CLUSTER = _object(
    "rayVersion authOptions headGroupSpec workerGroupSpecs",
    rayVersion=TEXT,
    authOptions=_object("mode", mode={"const": "token"}),
    suspend=FLAG,
    managedBy=TEXT,
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=_object(
        resources=RESOURCES,
        image=TEXT,
        imagePullPolicy=TEXT,
        securityContext=SECURITY,
        idleTimeoutSeconds=COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        version={"enum": ["v1", "v2"]},
        env=_list(VARIABLE),
        envFrom=_list(ANY),
        volumeMounts=_list(ANY),
    ),
    headServiceAnnotations=TEXTS,
    gcsFaultToleranceOptions=_object(
        "redisAddress",
        redisAddress=TEXT,
        redisUsername=CREDENTIAL,
        redisPassword=CREDENTIAL,
        externalStorageNamespace=TEXT,
    ),
    headGroupSpec=HEAD,
    workerGroupSpecs=_list(WORKERS, least=1),
)
RAY_JOB = _object(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    rayClusterSpec=RAY_CLUSTER,
    submitterPodTemplate=ANY,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=_object(backoffLimit=COUNT),
    managedBy=TEXT,
    deletionStrategy=ANY,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)
RAY_SERVICE = _object(
    "serveConfigV2 rayClusterConfig",
    serveConfigV2=TEXT,
    rayClusterConfig=RAY_CLUSTER,
    rayClusterDeletionDelaySeconds=COUNT,
    serviceUnhealthySecondThreshold=COUNT,
    deploymentUnhealthySecondThreshold=COUNT,
    serveService=ANY,
    upgradeStrategy=ANY,
    excludeHeadPodFromServeSvc=FLAG,
)
