module wherry.example/access-judge

go 1.26

require (
	k8s.io/apimachinery v0.35.0
	k8s.io/apiserver v0.35.0
)
