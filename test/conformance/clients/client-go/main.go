// What operators do with client-go: shared informers (typed, dynamic, metadata only, by WatchList), apply
// configurations, leader election, events, discovery and scale.
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"
)

func check(name string, ok bool, detail ...any) {
	if !ok {
		fmt.Println("FAILED", name, detail)
		os.Exit(1)
	}
	fmt.Println("ok", name)
}
func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println("FAILED", err)
		os.Exit(1)
	}
	return value
}
func eventually(name string, condition func() bool) {
	err := wait.PollUntilContextTimeout(context.Background(), 10*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) { return condition(), nil })
	check(name, err == nil)
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 90*time.Second)
	defer stop()
	config := must(clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")))
	config.QPS, config.Burst = 200, 200
	client := must(kubernetes.NewForConfig(config))
	dynamicClient := must(dynamic.NewForConfig(config))
	const namespace = "go"
	must(client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}))

	// Every namespace holds kube-root-ca.crt as well.
	ours := func(options *metav1.ListOptions) {
		if options.FieldSelector == "" {
			options.LabelSelector = "half"
		}
	}
	// Typed informers; client-go 1.35 asks for the first state as a watch list.
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace), informers.WithTweakListOptions(ours))
	maps := factory.Core().V1().ConfigMaps()
	var added, updated, deleted atomic.Int32
	must(maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { added.Add(1) },
		UpdateFunc: func(old, now any) { updated.Add(1) },
		DeleteFunc: func(any) { deleted.Add(1) },
	}))
	for number := range 50 {
		must(client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%02d", number), Labels: map[string]string{"half": fmt.Sprint(number % 2)}}, Data: map[string]string{"n": fmt.Sprint(number)}}, metav1.CreateOptions{}))
	}
	factory.Start(ctx.Done())
	check("typed informer synced", cache.WaitForCacheSync(ctx.Done(), maps.Informer().HasSynced))
	eventually("typed informer has all", func() bool { return added.Load() == 50 })
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		found, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, "m-00", metav1.GetOptions{})
		if err != nil {
			return err
		}
		found.Data["n"] = "changed"
		_, err = client.CoreV1().ConfigMaps(namespace).Update(ctx, found, metav1.UpdateOptions{})
		return err
	})
	check("update", err == nil, err)
	eventually("informer saw the update", func() bool { return updated.Load() == 1 })
	check("delete collection", client.CoreV1().ConfigMaps(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "half=1"}) == nil)
	eventually("informer saw 25 go", func() bool { return deleted.Load() == 25 })

	// Dynamic and metadata-only informers, and one with a field selector.
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	dynamicFactory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamicClient, 0, namespace, ours)
	dynamicInformer := dynamicFactory.ForResource(gvr).Informer()
	metadataFactory := metadatainformer.NewFilteredSharedInformerFactory(must(metadata.NewForConfig(config)), 0, namespace, ours)
	metadataInformer := metadataFactory.ForResource(gvr).Informer()
	one := cache.NewSharedInformer(cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "configmaps", namespace, fields.OneTermEqualSelector("metadata.name", "m-02")), &corev1.ConfigMap{}, 0)
	dynamicFactory.Start(ctx.Done())
	metadataFactory.Start(ctx.Done())
	go one.Run(ctx.Done())
	check("other informers synced", cache.WaitForCacheSync(ctx.Done(), dynamicInformer.HasSynced, metadataInformer.HasSynced, one.HasSynced))
	check("dynamic", len(dynamicInformer.GetStore().List()) == 25)
	check("metadata only", len(metadataInformer.GetStore().List()) == 25)
	check("by field", len(one.GetStore().List()) == 1)

	// Apply configurations and their conflict.
	deployment := appsapply.Deployment("web", namespace).WithSpec(appsapply.DeploymentSpec().WithReplicas(1).WithSelector(metaapply.LabelSelector().WithMatchLabels(map[string]string{"app": "web"})).
		WithTemplate(coreapply.PodTemplateSpec().WithLabels(map[string]string{"app": "web"}).WithSpec(coreapply.PodSpec().WithTerminationGracePeriodSeconds(1).WithContainers(coreapply.Container().WithName("web").WithImage("python:3").WithCommand("python3", "-m", "http.server", "8080")))))
	must(client.AppsV1().Deployments(namespace).Apply(ctx, deployment, metav1.ApplyOptions{FieldManager: "first"}))
	deployment.Spec.WithReplicas(2)
	_, err = client.AppsV1().Deployments(namespace).Apply(ctx, deployment, metav1.ApplyOptions{FieldManager: "second"})
	check("apply conflict", apierrors.IsConflict(err), err)
	applied := must(client.AppsV1().Deployments(namespace).Apply(ctx, deployment, metav1.ApplyOptions{FieldManager: "second", Force: true}))
	check("apply by force", *applied.Spec.Replicas == 2)
	extracted := must(appsapply.ExtractDeployment(applied, "second"))
	check("extract", *extracted.Spec.Replicas == 2 && len(extracted.Spec.Template.Spec.Containers) == 1)
	eventually("deployment available", func() bool {
		found, err := client.AppsV1().Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
		return err == nil && found.Status.AvailableReplicas == 2
	})

	// Discovery, mapper and scale.
	cached := memory.NewMemCacheClient(must(discovery.NewDiscoveryClientForConfig(config)))
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	mapping := must(mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "v1"))
	check("mapper", mapping.Resource == appsv1.SchemeGroupVersion.WithResource("deployments"))
	scales := must(scale.NewForConfig(config, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(cached)))
	current := must(scales.Scales(namespace).Get(ctx, mapping.Resource.GroupResource(), "web", metav1.GetOptions{}))
	current.Spec.Replicas = 1
	check("scale", must(scales.Scales(namespace).Update(ctx, mapping.Resource.GroupResource(), current, metav1.UpdateOptions{})).Spec.Replicas == 1)

	// A custom resource right after its definition.
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	must(dynamicClient.Resource(definitions).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "boats.example.net"},
		"spec": map[string]any{"group": "example.net", "scope": "Namespaced", "names": map[string]any{"kind": "Boat", "plural": "boats"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}}}, metav1.CreateOptions{}))
	boats := dynamicClient.Resource(schema.GroupVersionResource{Group: "example.net", Version: "v1", Resource: "boats"}).Namespace(namespace)
	boat := must(boats.Create(ctx, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.net/v1", "kind": "Boat", "metadata": map[string]any{"name": "b"}, "spec": map[string]any{"length": int64(7)}}}, metav1.CreateOptions{}))
	check("custom resource", boat.GetGeneration() == 1)
	boat.Object["status"] = map[string]any{"afloat": true}
	check("its status", must(boats.UpdateStatus(ctx, boat, metav1.UpdateOptions{})).Object["status"].(map[string]any)["afloat"] == true)
	must(boats.Patch(ctx, "b", types.MergePatchType, []byte(`{"spec":{"length":8}}`), metav1.PatchOptions{}))

	// Events of the recorder, counted up when they repeat.
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: client.CoreV1().Events(namespace)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "client"})
	about := must(client.CoreV1().ConfigMaps(namespace).Get(ctx, "m-00", metav1.GetOptions{}))
	for range 3 {
		recorder.Event(about, corev1.EventTypeNormal, "Seen", "it was seen")
	}
	eventually("events", func() bool {
		events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=m-00,reason=Seen"})
		return err == nil && len(events.Items) == 1 && events.Items[0].Count == 3
	})

	// Leader election on a Lease: the second leads when the first lets go.
	lead := func(name string, ctx context.Context, started func()) {
		lock := must(resourcelock.New(resourcelock.LeasesResourceLock, namespace, "leader", client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: name}))
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{Lock: lock, ReleaseOnCancel: true, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { started() }, OnStoppedLeading: func() {}}})
	}
	var leader atomic.Value
	leader.Store("")
	firstCtx, letGo := context.WithCancel(ctx)
	go lead("first", firstCtx, func() { leader.Store("first") })
	eventually("first leads", func() bool { return leader.Load() == "first" })
	go lead("second", ctx, func() { leader.Store("second") })
	letGo()
	eventually("second leads", func() bool { return leader.Load() == "second" })
	check("namespace deleted", client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}) == nil)
	eventually("namespace gone", func() bool {
		_, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}
