module operator

go 1.25

require (
	github.com/robfig/cron/v3 v3.0.1
	k8s.io/api v0.35.0
	k8s.io/apimachinery v0.35.0
	sigs.k8s.io/controller-runtime v0.23.3
)
