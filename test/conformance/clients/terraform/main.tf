terraform {
  required_providers {
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = ">= 2.35.0"
    }
  }
}

provider "kubernetes" {}

variable "replicas" {
  type    = number
  default = 2
}

resource "kubernetes_namespace_v1" "stack" {
  metadata {
    name   = "terraformed"
    labels = { owner = "terraform" }
  }
}

resource "kubernetes_config_map_v1" "page" {
  metadata {
    name      = "page"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  data = { "index.html" = "hello from terraform" }
}

resource "kubernetes_secret_v1" "key" {
  metadata {
    name      = "key"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  data = { password = "secret" }
}

resource "kubernetes_service_account_v1" "web" {
  metadata {
    name      = "web"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
}

resource "kubernetes_role_v1" "reader" {
  metadata {
    name      = "reader"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  rule {
    api_groups = [""]
    resources  = ["pods", "configmaps"]
    verbs      = ["get", "list"]
  }
}

resource "kubernetes_role_binding_v1" "reader" {
  metadata {
    name      = "reader"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = kubernetes_role_v1.reader.metadata[0].name
  }
  subject {
    kind      = "ServiceAccount"
    name      = kubernetes_service_account_v1.web.metadata[0].name
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
}

resource "kubernetes_deployment_v1" "web" {
  metadata {
    name      = "web"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  spec {
    replicas = var.replicas
    selector {
      match_labels = { app = "web" }
    }
    template {
      metadata {
        labels = { app = "web" }
      }
      spec {
        service_account_name             = kubernetes_service_account_v1.web.metadata[0].name
        termination_grace_period_seconds = 1
        container {
          name    = "web"
          image   = "python:3"
          command = ["python3", "-u", "-m", "http.server", "8080", "-d", "/page"]
          port {
            container_port = 8080
          }
          env {
            name = "PASSWORD"
            value_from {
              secret_key_ref {
                name = kubernetes_secret_v1.key.metadata[0].name
                key  = "password"
              }
            }
          }
          volume_mount {
            name       = "page"
            mount_path = "/page"
          }
          resources {
            requests = { cpu = "10m", memory = "16Mi" }
            limits   = { memory = "128Mi" }
          }
          readiness_probe {
            http_get {
              path = "/"
              port = 8080
            }
            period_seconds = 1
          }
        }
        volume {
          name = "page"
          config_map {
            name = kubernetes_config_map_v1.page.metadata[0].name
          }
        }
      }
    }
  }
}

resource "kubernetes_service_v1" "web" {
  metadata {
    name      = "web"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  spec {
    selector = { app = "web" }
    port {
      port        = 80
      target_port = 8080
    }
  }
}

resource "kubernetes_horizontal_pod_autoscaler_v2" "web" {
  metadata {
    name      = "web"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  spec {
    min_replicas = 1
    max_replicas = 3
    scale_target_ref {
      api_version = "apps/v1"
      kind        = "Deployment"
      name        = "other"
    }
    metric {
      type = "Resource"
      resource {
        name = "cpu"
        target {
          type                = "Utilization"
          average_utilization = 80
        }
      }
    }
  }
}

resource "kubernetes_cron_job_v1" "tick" {
  metadata {
    name      = "tick"
    namespace = kubernetes_namespace_v1.stack.metadata[0].name
  }
  spec {
    schedule = "0 0 1 1 *"
    job_template {
      metadata {}
      spec {
        template {
          metadata {}
          spec {
            restart_policy = "Never"
            container {
              name    = "tick"
              image   = "python:3"
              command = ["python3", "-c", "print(1)"]
            }
          }
        }
      }
    }
  }
}

resource "kubernetes_manifest" "quota" {
  manifest = {
    apiVersion = "v1"
    kind       = "ResourceQuota"
    metadata   = { name = "many", namespace = "default" }
    spec       = { hard = { pods = "100" } }
  }
}

data "kubernetes_all_namespaces" "all" {}

output "namespaces" {
  value = contains(data.kubernetes_all_namespaces.all.namespaces, "kube-system")
}

output "address" {
  value = kubernetes_service_v1.web.spec[0].cluster_ip
}
