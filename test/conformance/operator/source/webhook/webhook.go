// Package webhook fills in and judges CronJobs on their way in.
package webhook

import (
	"context"

	"github.com/robfig/cron/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1 "operator/api/v1"
	v2 "operator/api/v2"
)

// +kubebuilder:webhook:path=/mutate-batch-tutorial-example-org-v1-cronjob,mutating=true,failurePolicy=fail,sideEffects=None,groups=batch.tutorial.example.org,resources=cronjobs,verbs=create;update,versions=v1,name=mcronjob-v1.kb.io,admissionReviewVersions=v1
// +kubebuilder:webhook:path=/validate-batch-tutorial-example-org-v1-cronjob,mutating=false,failurePolicy=fail,sideEffects=None,groups=batch.tutorial.example.org,resources=cronjobs,verbs=create;update,versions=v1,name=vcronjob-v1.kb.io,admissionReviewVersions=v1

type CronJob struct{}

func Setup(mgr ctrl.Manager) error {
	if err := ctrl.NewWebhookManagedBy(mgr, &v1.CronJob{}).WithDefaulter(CronJob{}).WithValidator(CronJob{}).Complete(); err != nil {
		return err
	}
	return ctrl.NewWebhookManagedBy(mgr, &v2.CronJob{}).Complete()
}

func (CronJob) Default(_ context.Context, job *v1.CronJob) error {
	if job.Spec.ConcurrencyPolicy == "" {
		job.Spec.ConcurrencyPolicy = v1.AllowConcurrent
	}
	if job.Spec.Suspend == nil {
		job.Spec.Suspend = new(bool)
	}
	if job.Spec.SuccessfulJobsHistoryLimit == nil {
		limit := int32(3)
		job.Spec.SuccessfulJobsHistoryLimit = &limit
	}
	return nil
}

func (CronJob) ValidateCreate(_ context.Context, job *v1.CronJob) (admission.Warnings, error) {
	return validate(job)
}
func (CronJob) ValidateUpdate(_ context.Context, _, job *v1.CronJob) (admission.Warnings, error) {
	return validate(job)
}
func (CronJob) ValidateDelete(context.Context, *v1.CronJob) (admission.Warnings, error) {
	return nil, nil
}

// Names of Jobs end in a dash and ten digits.
const nameMax = 63 - 11

func validate(job *v1.CronJob) (warnings admission.Warnings, err error) {
	var all field.ErrorList
	if len(job.Name) > nameMax {
		all = append(all, field.Invalid(field.NewPath("metadata", "name"), job.Name, "must be no more than 52 characters"))
	}
	if _, err := cron.ParseStandard(job.Spec.Schedule); err != nil {
		all = append(all, field.Invalid(field.NewPath("spec", "schedule"), job.Spec.Schedule, err.Error()))
	}
	if job.Spec.Suspend != nil && *job.Spec.Suspend {
		warnings = append(warnings, "spec.suspend: nothing is started meanwhile")
	}
	if len(all) > 0 {
		return warnings, apierrors.NewInvalid(schema.GroupKind{Group: v1.GroupVersion.Group, Kind: "CronJob"}, job.Name, all)
	}
	return warnings, nil
}
