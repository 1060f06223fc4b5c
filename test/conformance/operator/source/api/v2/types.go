// Package v2 writes the schedule field by field.
// +kubebuilder:object:generate=true
// +groupName=batch.tutorial.example.org
package v2

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
	"sigs.k8s.io/controller-runtime/pkg/scheme"

	v1 "operator/api/v1"

	batchv1 "k8s.io/api/batch/v1"
)

var (
	GroupVersion  = schema.GroupVersion{Group: "batch.tutorial.example.org", Version: "v2"}
	SchemeBuilder = &scheme.Builder{GroupVersion: GroupVersion}
	AddToScheme   = SchemeBuilder.AddToScheme
)

func init() { SchemeBuilder.Register(&CronJob{}, &CronJobList{}) }

// CronSchedule has a text for each field of the schedule; an absent one is "*".
type CronSchedule struct {
	// +optional
	Minute *string `json:"minute,omitempty"`
	// +optional
	Hour *string `json:"hour,omitempty"`
	// +optional
	DayOfMonth *string `json:"dayOfMonth,omitempty"`
	// +optional
	Month *string `json:"month,omitempty"`
	// +optional
	DayOfWeek *string `json:"dayOfWeek,omitempty"`
}

type CronJobSpec struct {
	Schedule CronSchedule `json:"schedule"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	StartingDeadlineSeconds *int64 `json:"startingDeadlineSeconds,omitempty"`
	// +optional
	ConcurrencyPolicy v1.ConcurrencyPolicy `json:"concurrencyPolicy,omitempty"`
	// +optional
	Suspend     *bool                   `json:"suspend,omitempty"`
	JobTemplate batchv1.JobTemplateSpec `json:"jobTemplate"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	SuccessfulJobsHistoryLimit *int32 `json:"successfulJobsHistoryLimit,omitempty"`
}

// +kubebuilder:object:root=true
// +kubebuilder:subresource:status

// CronJob makes Jobs by a schedule.
type CronJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              CronJobSpec `json:"spec"`
	// +optional
	Status v1.CronJobStatus `json:"status,omitempty"`
}

// +kubebuilder:object:root=true

type CronJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CronJob `json:"items"`
}

func (from *CronJob) ConvertTo(hub conversion.Hub) error {
	to := hub.(*v1.CronJob)
	to.ObjectMeta, to.Status = from.ObjectMeta, from.Status
	fields := []*string{from.Spec.Schedule.Minute, from.Spec.Schedule.Hour, from.Spec.Schedule.DayOfMonth, from.Spec.Schedule.Month, from.Spec.Schedule.DayOfWeek}
	words := make([]string, len(fields))
	for i, field := range fields {
		words[i] = "*"
		if field != nil {
			words[i] = *field
		}
	}
	to.Spec = v1.CronJobSpec{
		Schedule: strings.Join(words, " "), StartingDeadlineSeconds: from.Spec.StartingDeadlineSeconds, ConcurrencyPolicy: from.Spec.ConcurrencyPolicy,
		Suspend: from.Spec.Suspend, JobTemplate: from.Spec.JobTemplate, SuccessfulJobsHistoryLimit: from.Spec.SuccessfulJobsHistoryLimit,
	}
	return nil
}

func (to *CronJob) ConvertFrom(hub conversion.Hub) error {
	from := hub.(*v1.CronJob)
	to.ObjectMeta, to.Status = from.ObjectMeta, from.Status
	words := strings.Fields(from.Spec.Schedule)
	if len(words) != 5 {
		return fmt.Errorf("the schedule %q has not five fields", from.Spec.Schedule)
	}
	field := func(i int) *string {
		if words[i] == "*" {
			return nil
		}
		return &words[i]
	}
	to.Spec = CronJobSpec{
		Schedule:                CronSchedule{field(0), field(1), field(2), field(3), field(4)},
		StartingDeadlineSeconds: from.Spec.StartingDeadlineSeconds, ConcurrencyPolicy: from.Spec.ConcurrencyPolicy,
		Suspend: from.Spec.Suspend, JobTemplate: from.Spec.JobTemplate, SuccessfulJobsHistoryLimit: from.Spec.SuccessfulJobsHistoryLimit,
	}
	return nil
}
