// An operator as kubebuilder lays it out: a kind in two versions, a controller, and webhooks that fill in, judge and convert.
package main

import (
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	v1 "operator/api/v1"
	v2 "operator/api/v2"
	"operator/controller"
	hooks "operator/webhook"
)

func main() {
	certificates := flag.String("webhook-cert-path", "", "folder of tls.crt and tls.key")
	port := flag.Int("webhook-port", 9443, "where webhooks are served")
	probes := flag.String("health-probe-bind-address", ":8081", "where probes are answered")
	elect := flag.Bool("leader-elect", false, "one of several at a time")
	namespace := flag.String("leader-election-namespace", "", "where the lease lies; in a cluster, where this runs")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	log := ctrl.Log.WithName("setup")
	must := func(err error) {
		if err != nil {
			log.Error(err, "not started")
			os.Exit(1)
		}
	}
	scheme := runtime.NewScheme()
	must(clientgoscheme.AddToScheme(scheme))
	must(v1.AddToScheme(scheme))
	must(v2.AddToScheme(scheme))
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: *probes,
		LeaderElection: *elect, LeaderElectionID: "80807133.tutorial.example.org", LeaderElectionNamespace: *namespace, LeaderElectionReleaseOnCancel: true,
		WebhookServer: webhook.NewServer(webhook.Options{Port: *port, CertDir: *certificates}),
	})
	must(err)
	must((&controller.Reconciler{Client: mgr.GetClient(), Events: mgr.GetEventRecorder("cronjob-controller")}).Setup(mgr))
	must(hooks.Setup(mgr))
	must(mgr.AddHealthzCheck("healthz", healthz.Ping))
	must(mgr.AddReadyzCheck("readyz", mgr.GetWebhookServer().StartedChecker()))
	must(mgr.Start(ctrl.SetupSignalHandler()))
}
