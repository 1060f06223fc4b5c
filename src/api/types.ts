/**
 * Types of the built-in kinds that Wherry's own code reads. They cost nothing at run time (`import type`); an
 * object read from the API always has its metadata filled in.
 */
import type { IDeployment } from "kubernetes-models/apps/v1/Deployment";
import type { IReplicaSet } from "kubernetes-models/apps/v1/ReplicaSet";
import type { IStatefulSet } from "kubernetes-models/apps/v1/StatefulSet";
import type { IControllerRevision } from "kubernetes-models/apps/v1/ControllerRevision";
import type { ILease } from "kubernetes-models/coordination.k8s.io/v1/Lease";
import type { IEndpointSlice } from "kubernetes-models/discovery.k8s.io/v1/EndpointSlice";
import type { IIngress } from "kubernetes-models/networking.k8s.io/v1/Ingress";
import type { IPodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import type { IStorageClass } from "kubernetes-models/storage.k8s.io/v1/StorageClass";
import type { IConfigMap } from "kubernetes-models/v1/ConfigMap";
import type { IContainer } from "kubernetes-models/v1/Container";
import type { IContainerStatus } from "kubernetes-models/v1/ContainerStatus";
import type { IEndpoints } from "kubernetes-models/v1/Endpoints";
import type { IEvent } from "kubernetes-models/v1/Event";
import type { INamespace } from "kubernetes-models/v1/Namespace";
import type { INode } from "kubernetes-models/v1/Node";
import type { IPersistentVolume } from "kubernetes-models/v1/PersistentVolume";
import type { IPersistentVolumeClaim } from "kubernetes-models/v1/PersistentVolumeClaim";
import type { IPod } from "kubernetes-models/v1/Pod";
import type { IPodSpec } from "kubernetes-models/v1/PodSpec";
import type { IPodStatus } from "kubernetes-models/v1/PodStatus";
import type { IPodTemplateSpec } from "kubernetes-models/v1/PodTemplateSpec";
import type { IProbe } from "kubernetes-models/v1/Probe";
import type { ISecret } from "kubernetes-models/v1/Secret";
import type { IService } from "kubernetes-models/v1/Service";
import type { IServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import type { IVolume } from "kubernetes-models/v1/Volume";
import type { ObjectMeta } from "./meta.ts";

type Read<T> = Omit<T, "metadata"> & { apiVersion: string; kind: string; metadata: ObjectMeta };

export type ConfigMap = Read<IConfigMap>;
export type Container = IContainer;
export type ContainerStatus = IContainerStatus;
export type ControllerRevision = Read<IControllerRevision>;
export type Deployment = Read<IDeployment>;
export type EndpointSlice = Read<IEndpointSlice>;
export type Endpoints = Read<IEndpoints>;
export type Event = Read<IEvent>;
export type Ingress = Read<IIngress>;
export type Lease = Read<ILease>;
export type Namespace = Read<INamespace>;
export type Node = Read<INode>;
export type PersistentVolume = Read<IPersistentVolume>;
export type PersistentVolumeClaim = Read<IPersistentVolumeClaim>;
export type Pod = Read<IPod>;
export type PodDisruptionBudget = Read<IPodDisruptionBudget>;
export type PodSpec = IPodSpec;
export type PodStatus = IPodStatus;
export type PodTemplateSpec = IPodTemplateSpec;
export type Probe = IProbe;
export type ReplicaSet = Read<IReplicaSet>;
export type Secret = Read<ISecret>;
export type Service = Read<IService>;
export type ServiceAccount = Read<IServiceAccount>;
export type StatefulSet = Read<IStatefulSet>;
export type StorageClass = Read<IStorageClass>;
export type Volume = IVolume;
