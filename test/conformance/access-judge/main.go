// Asks the code of the real kube-apiserver about configuration files and about tokens, without a server: one question
// a line of standard input, one answer a line of standard output.
//
//	{"kind": "authentication" | "encryption" | "audit", "file": "…"}  → {"error": "…"}, "" when it can be followed
//	{"kind": "tokens", "file": "…", "tokens": ["…"]}                  → {"error": "", "users": [{…} | null]}
//	{"kind": "levels", "file": "…", "requests": [{…}]}                → {"error": "", "levels": ["Metadata RequestReceived"]}
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sort"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/audit/policy"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	authuser "k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

type question struct {
	Kind     string    `json:"kind"`
	File     string    `json:"file"`
	Tokens   []string  `json:"tokens"`
	Requests []request `json:"requests"`
}

// What an audit policy is asked about.
type request struct {
	User        string   `json:"user"`
	Groups      []string `json:"groups"`
	Verb        string   `json:"verb"`
	Path        string   `json:"path"`
	Namespace   string   `json:"namespace"`
	Group       string   `json:"group"`
	Resource    string   `json:"resource"`
	Subresource string   `json:"subresource"`
	Name        string   `json:"name"`
}

type user struct {
	Name   string              `json:"name"`
	UID    string              `json:"uid,omitempty"`
	Groups []string            `json:"groups,omitempty"`
	Extra  map[string][]string `json:"extra,omitempty"`
}

type answer struct {
	Error  string   `json:"error"`
	Users  []*user  `json:"users,omitempty"`
	Levels []string `json:"levels,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		given := answer{}
		var err error
		if asked.Kind == "levels" {
			given.Levels, err = levels(asked)
		} else {
			given.Users, err = judge(asked)
		}
		if err != nil {
			given.Error = err.Error()
		}
		if err := out.Encode(given); err != nil {
			panic(err)
		}
	}
}

func judge(asked question) ([]*user, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch asked.Kind {
	case "audit":
		_, err := policy.LoadPolicyFromFile(asked.File)
		return nil, err
	case "encryption":
		_, err := encryptionconfig.LoadEncryptionConfig(ctx, asked.File, false, "judge")
		return nil, err
	}
	config, err := authenticationOf(asked.File)
	if err != nil || asked.Kind == "authentication" {
		return nil, err
	}
	var authenticators []oidc.AuthenticatorTokenWithHealthCheck
	for _, jwt := range config.JWT {
		options := oidc.Options{JWTAuthenticator: jwt, SupportedSigningAlgs: oidc.AllValidSigningAlgorithms()}
		if jwt.Issuer.CertificateAuthority != "" {
			options.CAContentProvider, err = dynamiccertificates.NewStaticCAContent("ca", []byte(jwt.Issuer.CertificateAuthority))
			if err != nil {
				return nil, err
			}
		}
		one, err := oidc.New(ctx, options)
		if err != nil {
			return nil, err
		}
		for one.HealthCheck() != nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		authenticators = append(authenticators, one)
	}
	users := []*user{}
	for _, token := range asked.Tokens {
		users = append(users, who(ctx, authenticators, token))
	}
	return users, nil
}

func levels(asked question) ([]string, error) {
	rules, err := policy.LoadPolicyFromFile(asked.File)
	if err != nil {
		return nil, err
	}
	evaluator := policy.NewPolicyRuleEvaluator(rules)
	found := []string{}
	for _, one := range asked.Requests {
		given := evaluator.EvaluatePolicyRule(authorizer.AttributesRecord{
			User: &authuser.DefaultInfo{Name: one.User, Groups: one.Groups}, Verb: one.Verb, Namespace: one.Namespace, APIGroup: one.Group,
			Resource: one.Resource, Subresource: one.Subresource, Name: one.Name, ResourceRequest: one.Resource != "", Path: one.Path,
		})
		words := []string{string(given.Level)}
		for _, stage := range given.OmitStages {
			words = append(words, string(stage))
		}
		sort.Strings(words[1:])
		if given.OmitManagedFields {
			words = append(words, "omitManagedFields")
		}
		found = append(found, strings.Join(words, " "))
	}
	return found, nil
}

func who(ctx context.Context, authenticators []oidc.AuthenticatorTokenWithHealthCheck, token string) *user {
	for _, one := range authenticators {
		response, ok, err := one.AuthenticateToken(ctx, token)
		if err == nil && ok {
			found := response.User
			return &user{found.GetName(), found.GetUID(), found.GetGroups(), found.GetExtra()}
		}
	}
	return nil
}

func authenticationOf(file string) (*apiserver.AuthenticationConfiguration, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, errors.New("empty config data")
	}
	config := &apiserver.AuthenticationConfiguration{}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	if err := runtime.DecodeInto(decoder, data, config); err != nil {
		return nil, err
	}
	errs := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, strings.Fields("https://own.example.com"))
	return config, errs.ToAggregate()
}
