// Package controller makes Jobs when their time has come, and keeps their number within bounds.
package controller

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ref "k8s.io/client-go/tools/reference"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "operator/api/v1"
)

type Reconciler struct {
	client.Client
	Events events.EventRecorder
}

// +kubebuilder:rbac:groups=batch.tutorial.example.org,resources=cronjobs,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=batch.tutorial.example.org,resources=cronjobs/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=batch.tutorial.example.org,resources=cronjobs/finalizers,verbs=update
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=events.k8s.io;"",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch;delete

const ownerIndex = ".metadata.controller"

func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &batchv1.Job{}, ownerIndex, func(object client.Object) []string {
		if owner := metav1.GetControllerOf(object); owner != nil && owner.APIVersion == v1.GroupVersion.String() && owner.Kind == "CronJob" {
			return []string{owner.Name}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).For(&v1.CronJob{}).Owns(&batchv1.Job{}).Complete(r)
}

func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var job v1.CronJob
	if err := r.Get(ctx, request.NamespacedName, &job); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var children batchv1.JobList
	if err := r.List(ctx, &children, client.InNamespace(request.Namespace), client.MatchingFields{ownerIndex: request.Name}); err != nil {
		return ctrl.Result{}, err
	}
	var active, done []*batchv1.Job
	last := job.CreationTimestamp.Time
	for i := range children.Items {
		child := &children.Items[i]
		if at, err := time.Parse(time.RFC3339, child.Annotations[scheduledAt]); err == nil && at.After(last) {
			last = at
		}
		if finished(child) {
			done = append(done, child)
		} else {
			active = append(active, child)
		}
	}
	if err := r.writeStatus(ctx, &job, active, last); err != nil {
		return ctrl.Result{}, err
	}
	sort.Slice(done, func(i, j int) bool { return done[i].CreationTimestamp.Before(&done[j].CreationTimestamp) })
	for _, old := range done[:max(0, len(done)-int(*job.Spec.SuccessfulJobsHistoryLimit))] {
		if err := r.Delete(ctx, old, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
	}
	if *job.Spec.Suspend {
		return ctrl.Result{}, nil
	}
	schedule, err := cron.ParseStandard(job.Spec.Schedule)
	if err != nil {
		return ctrl.Result{}, nil // the webhook has said so
	}
	now := time.Now()
	if next := schedule.Next(last); next.After(now) {
		return ctrl.Result{RequeueAfter: next.Sub(now)}, nil
	}
	if job.Spec.ConcurrencyPolicy == v1.ForbidConcurrent && len(active) > 0 {
		return ctrl.Result{}, nil // its end brings us back
	}
	if job.Spec.ConcurrencyPolicy == v1.ReplaceConcurrent {
		for _, other := range active {
			if err := r.Delete(ctx, other, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
				return ctrl.Result{}, err
			}
		}
	}
	child := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("%s-%d", job.Name, now.Unix()), Namespace: job.Namespace, Labels: job.Spec.JobTemplate.Labels,
		Annotations: map[string]string{scheduledAt: now.Format(time.RFC3339)},
	}, Spec: *job.Spec.JobTemplate.Spec.DeepCopy()}
	if err := ctrl.SetControllerReference(&job, child, r.Scheme()); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Create(ctx, child); err != nil && !apierrors.IsAlreadyExists(err) {
		return ctrl.Result{}, err
	}
	r.Events.Eventf(&job, child, corev1.EventTypeNormal, "Started", "Start", "started %s", child.Name)
	return ctrl.Result{RequeueAfter: time.Until(schedule.Next(now))}, nil
}

const scheduledAt = "batch.tutorial.example.org/scheduled-at"

func (r *Reconciler) writeStatus(ctx context.Context, job *v1.CronJob, active []*batchv1.Job, last time.Time) error {
	before := job.DeepCopy()
	job.Status.Active = nil
	for _, child := range active {
		reference, err := ref.GetReference(r.Scheme(), child)
		if err != nil {
			return err
		}
		job.Status.Active = append(job.Status.Active, *reference)
	}
	if !last.Equal(job.CreationTimestamp.Time) {
		job.Status.LastScheduleTime = &metav1.Time{Time: last}
	}
	meta.SetStatusCondition(&job.Status.Conditions, metav1.Condition{Type: "Available", Status: metav1.ConditionTrue, Reason: "Reconciled", Message: "is looked after"})
	return r.Status().Patch(ctx, job, client.MergeFrom(before))
}

func finished(job *batchv1.Job) bool {
	for _, condition := range job.Status.Conditions {
		if (condition.Type == batchv1.JobComplete || condition.Type == batchv1.JobFailed) && condition.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
