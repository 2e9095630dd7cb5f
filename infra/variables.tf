variable "project" {
  description = "Id of the project that holds everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project's id (6 to 30 small letters, digits and hyphens), not its name or number: gcloud projects list shows it."
  }
}

variable "region" {
  description = "Region of services, queues and, unless database_location says otherwise, the database."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west1, without a zone's letter: gcloud run regions list shows them."
  }
}

variable "database_location" {
  description = "Location of Firestore's database, for example eur3. It cannot be changed later. Null: the region."
  type        = string
  default     = null

  validation {
    condition     = var.database_location == null || can(regex("^[a-z]+[a-z0-9-]*[0-9]$", var.database_location))
    error_message = "database_location must be a location such as eur3, nam5 or europe-west1; leave it out for the region: gcloud firestore locations list shows them."
  }

  validation {
    condition     = var.database_location == null || var.store == "firestore"
    error_message = "database_location is for Firestore: leave it out with store = \"alloydb\", which is in the region."
  }
}

variable "database" {
  description = "Name of Firestore's database, if it is not the prefix: that of one that was restored (README.md)."
  type        = string
  default     = ""

  validation {
    condition     = var.database == "" || can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.database))
    error_message = "database must have 4 to 63 small letters, digits and hyphens, begin with a letter and not end in a hyphen; leave it out for the prefix."
  }

  validation {
    condition     = var.database == "" || var.store == "firestore"
    error_message = "database is for Firestore: leave it out with store = \"alloydb\", where alloydb.cluster names a restored cluster."
  }
}

variable "backups" {
  description = "What can be restored of Firestore's database: whether every minute of the last seven days, for how many days the backup of each day is kept, and for how many that of each week. 0: there is no such backup. Each costs storage (README.md)."
  type = object({
    point_in_time = optional(bool, true)
    daily_days    = optional(number, 7)
    weekly_days   = optional(number, 98)
  })
  default = {}

  # https://cloud.google.com/firestore/docs/backups
  validation {
    condition     = alltrue([for days in [var.backups.daily_days, var.backups.weekly_days] : days >= 0 && days <= 98 && floor(days) == days])
    error_message = "backups.daily_days and backups.weekly_days must be whole numbers from 0, for none, to 98, the 14 weeks that Firestore keeps a backup at most."
  }
}

variable "store" {
  description = "Where the records are: firestore, or alloydb, which costs money while it is idle (README.md). Another one begins empty."
  type        = string
  default     = "firestore"

  validation {
    condition     = contains(["firestore", "alloydb"], var.store)
    error_message = "store must be firestore or alloydb."
  }
}

variable "alloydb" {
  description = "With store = \"alloydb\": how the programs log in (iam, or secret), processors, REGIONAL or ZONAL, major version, connections at most, days that can be restored, the cluster's name if it is not the prefix, and what it is restored from."
  type = object({
    login         = optional(string, "iam")
    cpus          = optional(number, 2)
    availability  = optional(string, "REGIONAL")
    version       = optional(string, "POSTGRES_16")
    connections   = optional(number, 1000)
    recovery_days = optional(number, 14)
    cluster       = optional(string, "")
    restore       = optional(object({ cluster = string, time = string }))
  })
  default = {}

  validation {
    condition     = contains(["iam", "secret"], var.alloydb.login)
    error_message = "alloydb.login must be iam, without a password, or secret, with the user and the password in alloy_db_user and alloy_db_pass."
  }

  validation {
    condition     = contains([2, 4, 8, 16, 32, 64, 96, 128], var.alloydb.cpus)
    error_message = "alloydb.cpus must be 2, 4, 8, 16, 32, 64, 96 or 128."
  }

  validation {
    condition     = contains(["REGIONAL", "ZONAL"], var.alloydb.availability)
    error_message = "alloydb.availability must be REGIONAL, with a standby in another zone, or ZONAL, without one."
  }

  validation {
    condition     = can(regex("^POSTGRES_[0-9]{2}$", var.alloydb.version))
    error_message = "alloydb.version must be a major version such as POSTGRES_16."
  }

  # That they are enough for instances is checked with the instance of AlloyDB.
  validation {
    condition     = var.alloydb.connections >= 1 && floor(var.alloydb.connections) == var.alloydb.connections
    error_message = "alloydb.connections must be a whole number, for example 1000."
  }

  # https://cloud.google.com/alloydb/docs/backup/overview
  validation {
    condition     = var.alloydb.recovery_days >= 1 && var.alloydb.recovery_days <= 35 && floor(var.alloydb.recovery_days) == var.alloydb.recovery_days
    error_message = "alloydb.recovery_days must be a whole number from 1 to 35."
  }

  validation {
    condition     = var.alloydb.cluster == "" || can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.alloydb.cluster))
    error_message = "alloydb.cluster must have 1 to 63 small letters, digits and hyphens, begin with a letter and not end in a hyphen; leave it out for the prefix."
  }

  validation {
    condition     = var.alloydb.restore == null || try(can(timeadd(var.alloydb.restore.time, "0s")) && var.alloydb.restore.cluster != coalesce(var.alloydb.cluster, var.prefix), false)
    error_message = "alloydb.restore must be { cluster = \"NAME\", time = \"2026-01-31T12:00:00Z\" }, with alloydb.cluster as another name: a restore makes a new cluster."
  }
}

variable "prefix" {
  description = "Begins the name of everything, so that several agents can share a project."
  type        = string
  default     = "errand"

  # A database's name has at least 4 characters, a service account's at most 30, of
  # which "-cardserver" takes 11.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,17}[a-z0-9]$", var.prefix))
    error_message = "prefix must have 4 to 19 small letters, digits and hyphens, begin with a letter and not end in a hyphen, for example errand."
  }
}

variable "image" {
  description = "The image with the three programs. Empty: everything but the services is made, so that there is a registry to push it to."
  type        = string
  default     = ""

  # What is deployed is what was tested: a tag can be moved, a digest cannot.
  validation {
    condition     = var.image == "" || can(regex("^[a-z0-9.-]+/.+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must name a digest, REGISTRY/NAME@sha256:...: gcloud artifacts docker images describe NAME:TAG shows it. Leave it empty until there is an image."
  }
}

variable "model" {
  description = "Who answers: vertex:MODEL with the worker's own identity, or gemini:MODEL with the key in the secret. Empty: the model of agent.yaml on Vertex AI."
  type        = string
  default     = ""

  validation {
    condition     = var.model == "" || can(regex("^(vertex|gemini):[A-Za-z0-9._-]+$", var.model))
    error_message = "model must be vertex:MODEL or gemini:MODEL, for example vertex:gemini-3.6-flash; leave it out for the one of agent.yaml."
  }
}

variable "settings" {
  description = "The settings that worker/agent/agent.yaml names, by name. One that is left out has its default there."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : contains(keys(local.agent_settings), name)])
    error_message = "settings has ${join(", ", setsubtract(keys(var.settings), keys(local.agent_settings)))}, which worker/agent/agent.yaml does not name. It names: ${join(", ", keys(local.agent_settings))}."
  }

  validation {
    condition     = alltrue([for name, s in local.agent_settings : !s.required || lookup(var.settings, name, "") != ""])
    error_message = "settings lacks what worker/agent/agent.yaml requires: ${join(", ", [for name, s in local.agent_settings : name if s.required && lookup(var.settings, name, "") == ""])}."
  }

  validation {
    condition     = alltrue([for name, value in var.settings : value == "" || can(regex(local.agent_settings[name].pattern, value)) || !contains(keys(local.agent_settings), name)])
    error_message = "settings has a value that is not of the type in worker/agent/agent.yaml: ${join(", ", [for name, value in var.settings : name if value != "" && contains(keys(local.agent_settings), name) && !can(regex(local.agent_settings[name].pattern, value))])}."
  }
}

variable "agent_allow" {
  description = "Private destinations that the agent's own code may reach through subnetwork, as CIDR:PORT, for example 10.0.0.0/8:443."
  type        = list(string)
  default     = []

  # The worker reads the list itself, and says more of what is wrong in it.
  validation {
    condition     = alltrue([for d in var.agent_allow : can(regex("^([0-9.]+(/[0-9]+)?|\\[[0-9a-f:]+(/[0-9]+)?\\]):([0-9]+|\\*)$", d))])
    error_message = "agent_allow must be a list of CIDR:PORT, for example [\"10.0.0.0/8:443\"]; names are not possible."
  }

  validation {
    condition     = length(var.agent_allow) == 0 || var.subnetwork != ""
    error_message = "agent_allow names private destinations: set subnetwork to the one through which the worker reaches them."
  }
}

variable "subnetwork" {
  description = "Subnetwork through which the worker reaches private addresses, by name or as projects/PROJECT/regions/REGION/subnetworks/NAME. Empty: it reaches none. With store = \"alloydb\" all programs reach the database through it, and its network has private services access."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(|(projects/[a-z0-9.:-]+/regions/[a-z0-9-]+/subnetworks/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?)$", var.subnetwork))
    error_message = "subnetwork must be a subnetwork's name in the region, or projects/PROJECT/regions/REGION/subnetworks/NAME: gcloud compute networks subnets list shows them."
  }
}

variable "static_egress" {
  description = "Whether webhooks come from one address, for receivers with a list of allowed ones: through subnetwork, whose network has Cloud NAT then, or else through a network and a Cloud NAT of the installation's own, which cost money while they are idle."
  type        = bool
  default     = false
}

variable "model_location" {
  description = "Where Vertex AI is asked: global, eu, us, or a region that has the model. Empty: eu, the European Union, for a region in Europe, us for one in the United States, else global, which may be anywhere."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(|global|[a-z]+|[a-z]+-[a-z]+[0-9]+)$", var.model_location))
    error_message = "model_location must be global, eu, us or a region such as europe-west1; leave it out for the one of the region."
  }
}

variable "ingress" {
  description = "From where clients reach the front door: all; load-balancer, from load balancers and the project's own networks; or internal, from these networks alone. Empty: all, or load-balancer with edge."
  type        = string
  default     = ""

  validation {
    condition     = contains(["", "all", "load-balancer", "internal"], var.ingress)
    error_message = "ingress must be all, load-balancer or internal; leave it out for all, or for load-balancer with edge."
  }

  validation {
    condition     = var.edge == null || var.ingress != "internal"
    error_message = "With ingress = \"internal\" no load balancer reaches the front door: leave edge out, or set ingress to load-balancer."
  }

  validation {
    condition     = var.ingress != "all" || try(var.edge.client_ca == "", true)
    error_message = "With edge.client_ca nobody may reach the front door past the load balancer, because its headers say who calls: leave ingress out."
  }
}

variable "access" {
  description = "Who may use the agent: secret, those whom the secret's file names; or anonymous, everybody whom clients lets through."
  type        = string
  default     = "secret"

  validation {
    condition     = contains(["secret", "anonymous"], var.access)
    error_message = "access must be secret, with a file of who may call as a version of the secret PREFIX-access, or anonymous."
  }
}

variable "clients" {
  description = "Who reaches the front door at all. With allUsers Google lets everybody through, and the agent asks who they are; otherwise Google asks first (README.md)."
  type        = list(string)
  default     = ["allUsers"]

  validation {
    condition     = length(var.clients) > 0 && alltrue([for c in var.clients : can(regex("^(allUsers|(user|group|serviceAccount|domain|principal|principalSet):.+)$", c))])
    error_message = "clients must be a list of allUsers, user:EMAIL, group:EMAIL, serviceAccount:EMAIL or domain:NAME. allAuthenticatedUsers would be everybody with any account of Google: name who is meant."
  }

  validation {
    condition     = var.access == "secret" || !contains(var.clients, "allUsers")
    error_message = "With access = \"anonymous\" the agent asks nobody who they are: name in clients who may reach it, or set access to secret."
  }
}

variable "check_internal" {
  description = "Whether Cloud Run itself checks the callers of worker and functions, as the policy run.managed.requireInvokerIam demands. The programs then take its word: it takes the signatures off the tokens that it checks."
  type        = bool
  default     = false
}

variable "origins" {
  description = "Origins of web pages of other sites that may call the agent from browsers, for example https://ui.example.com."
  type        = list(string)
  default     = []

  # The front door reads the list itself, and says more of what is wrong in it.
  validation {
    condition     = alltrue([for o in var.origins : can(regex("^https?://[^/,*?# ]+$", o))])
    error_message = "origins must be a list of origins as browsers send them, scheme and host alone, for example [\"https://ui.example.com\"]."
  }
}

variable "dedupe" {
  description = "message-id: the same message sent twice is the same task. off: clients give different messages the same id."
  type        = string
  default     = "message-id"

  validation {
    condition     = contains(["message-id", "off"], var.dedupe)
    error_message = "dedupe must be message-id, or off if clients give different messages the same messageId."
  }
}

variable "url" {
  description = "Address at which clients reach the agent, for its card. Empty: https://DOMAIN of edge, or the one Cloud Run gives it. Clients look for the card at the root of the domain: below a path they must be given the card's address."
  type        = string
  default     = ""

  validation {
    condition     = var.url == "" || can(regex("^https://[^/?#@]+(/[^?#]*)?$", var.url))
    error_message = "url must be the https address that clients use, for example https://agent.example.com; leave it empty for Cloud Run's."
  }
}

variable "edge" {
  description = "A domain of one's own in front of the front door, with a load balancer, a certificate and Cloud Armor, which lets each address send so many requests a minute (README.md). It costs money while it is idle."
  type = object({
    domain              = string
    requests_per_minute = optional(number, 600)
    client_ca           = optional(string, "") # certificates in PEM of the authorities of clients
  })
  default = null

  # The certificate has the domain in its name, which has at most 63 characters.
  validation {
    condition     = var.edge == null || try(can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.edge.domain)) && length(var.edge.domain) <= 38, false)
    error_message = "edge.domain must be a domain of at most 38 characters without https://, for example agent.example.com."
  }

  validation {
    condition     = try(var.edge.requests_per_minute >= 1 && floor(var.edge.requests_per_minute) == var.edge.requests_per_minute, true)
    error_message = "edge.requests_per_minute must be a whole number from 1, for example 600."
  }

  validation {
    condition     = try(var.edge.client_ca == "" || startswith(var.edge.client_ca, "-----BEGIN CERTIFICATE-----"), true)
    error_message = "edge.client_ca must be certificates in PEM: in terraform.tfvars between <<EOF and EOF, or as TF_VAR_edge."
  }

  validation {
    condition     = try(var.edge.client_ca == "", true) || contains(var.clients, "allUsers")
    error_message = "With edge.client_ca certificates say who calls, and with clients Google does: have allUsers in clients, or leave client_ca out."
  }
}

variable "candidate" {
  description = "Which revisions serve while the newest ones are tried (output serving), and how many of a hundred requests the newest ones get. Null: the newest ones serve (README.md)."
  type = object({
    serving = object({ cardserver = string, worker = string, functions = string })
    percent = optional(number, 0)
  })
  default = null

  validation {
    condition     = var.candidate == null || try(alltrue([for p, r in var.candidate.serving : startswith(r, "${var.prefix}-${p}-")]), false)
    error_message = "candidate.serving must name a revision of each program, as terraform output serving shows them before the new image is applied."
  }

  validation {
    condition     = var.candidate == null || try(var.candidate.percent >= 0 && var.candidate.percent <= 99 && floor(var.candidate.percent) == var.candidate.percent, false)
    error_message = "candidate.percent must be a whole number from 0 to 99; leave candidate out for 100."
  }
}

variable "instances" {
  description = "How many instances of each program run at most, with a processor each. None runs while there is nothing to do. A new project may have about 20 processors for each (quota)."
  type = object({
    cardserver = optional(number, 10)
    worker     = optional(number, 20)
    functions  = optional(number, 10)
  })
  default = {}

  validation {
    condition     = alltrue([for n in values(var.instances) : n >= 1 && n <= 1000 && floor(n) == n])
    error_message = "instances must be whole numbers from 1 to 1000, for example { worker = 20 }."
  }
}

variable "min_instances" {
  description = "How many instances of each program run at least. More than none saves the first caller after a rest the seconds of a start, and is billed all day."
  type = object({
    cardserver = optional(number, 0)
    worker     = optional(number, 0)
    functions  = optional(number, 0)
  })
  default = {}

  validation {
    condition     = alltrue([for p, n in var.min_instances : n >= 0 && floor(n) == n && n <= var.instances[p]])
    error_message = "min_instances must be whole numbers from 0 to what instances has for the program, for example { cardserver = 1 }."
  }
}

variable "cpu_always" {
  description = "Whether instances have their processor, and are billed, also between requests. It is cheaper where they are hardly ever idle. https://cloud.google.com/run/docs/configuring/billing-settings"
  type        = bool
  default     = false
}

variable "quota" {
  description = "What the project may have on Cloud Run for one service in the region: processors, and GiB of memory. The default is about what a new project has. It changes nothing; a plan that needs more is a warning."
  type = object({
    cpus       = optional(number, 20)
    memory_gib = optional(number, 40)
  })
  default = {}

  validation {
    condition     = var.quota.cpus > 0 && var.quota.memory_gib > 0
    error_message = "quota must be { cpus = NUMBER, memory_gib = NUMBER }, both above 0."
  }
}

variable "turns_per_instance" {
  description = "How many turns one worker runs side by side. Most of the time they wait for the model, so many of them share a processor. With items_per_instance and the worker's instances it bounds what the model and its bill see."
  type        = number
  default     = 16

  # A program lets 200 requests of one address in (docs/limits.md), and Cloud Tasks may be one.
  # Turns, as many items and four batches are fewer.
  validation {
    condition     = var.turns_per_instance >= 1 && var.turns_per_instance <= 96 && floor(var.turns_per_instance) == var.turns_per_instance
    error_message = "turns_per_instance must be a whole number from 1 to 96. For more at once raise instances.worker."
  }

  # One machine runs 64 turns in 512 MiB by default. What a turn needs beyond the memory that is
  # left it waits for.
  validation {
    condition     = var.turns_per_instance + var.items_per_instance <= 64 || var.memory.worker >= 1024
    error_message = "turns_per_instance and items_per_instance are more than 64 together, and would wait for each other in ${var.memory.worker} MiB: set memory.worker to 1024 at least, or lower one of them."
  }

  # A queue dispatches at most 5,000 at once. https://cloud.google.com/tasks/docs/quotas
  validation {
    condition     = var.turns_per_instance * var.instances.worker >= var.shards && var.turns_per_instance * var.instances.worker <= 5000 * var.shards
    error_message = "turns_per_instance * instances.worker must be from 1 to 5000 for each queue of the lane (shards), the most that a queue dispatches at once."
  }
}

variable "items_per_instance" {
  description = "How many items of batches one worker runs beside its turns."
  type        = number
  default     = 4

  validation {
    condition     = var.items_per_instance >= 1 && var.items_per_instance <= 96 && floor(var.items_per_instance) == var.items_per_instance
    error_message = "items_per_instance must be a whole number from 1 to 96. For more at once raise instances.worker."
  }

  validation {
    condition     = var.items_per_instance * var.instances.worker >= var.shards && var.items_per_instance * var.instances.worker <= 5000 * var.shards
    error_message = "items_per_instance * instances.worker must be from 1 to 5000 for each queue of the lane (shards), the most that a queue dispatches at once."
  }
}

variable "shards" {
  description = "Queues of each lane: 1, 2, 4 or 8. With more than one, the indexes of Firestore that grow at one end also have eight ranges instead of one. For hundreds of tasks a second (docs/scale.md)."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4, 8], var.shards)
    error_message = "shards must be 1, 2, 4 or 8."
  }
}

variable "memory" {
  description = "MiB of each instance of a program. A new project may have about 40 GiB for all instances of a program (quota)."
  type = object({
    cardserver = optional(number, 512)
    worker     = optional(number, 512)
    functions  = optional(number, 512)
  })
  default = {}

  # Cloud Run gives one processor at least 128 MiB and at most 4 GiB.
  validation {
    condition     = alltrue([for m in values(var.memory) : m >= 256 && m <= 4096 && floor(m) == m])
    error_message = "memory must be whole numbers of MiB from 256 to 4096, for example { worker = 1024 }."
  }
}

variable "protect" {
  description = "Whether Firestore's database, the secrets with the keys and the access file, and a bucket with files in it, refuse to be deleted. Set it to false and apply before a destroy. AlloyDB's cluster always refuses (README.md)."
  type        = bool
  default     = true
}

variable "pipelines" {
  description = "Subscriptions on the task events, by name: which events come (docs/events.md; empty: all), and who may pull them."
  type = map(object({
    filter  = optional(string, "")
    members = optional(list(string), [])
  }))
  default = {}

  # A subscription's name has at most 255 characters; this leaves it readable.
  validation {
    condition     = alltrue([for name in keys(var.pipelines) : can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", name))])
    error_message = "pipelines must be named by 1 to 40 small letters, digits and hyphens, beginning with a letter and not ending in a hyphen, for example billing."
  }

  # https://cloud.google.com/pubsub/docs/subscription-message-filter. That it can be read
  # Pub/Sub says itself.
  validation {
    condition     = alltrue([for p in values(var.pipelines) : p.filter == "" || length(p.filter) <= 256 && strcontains(p.filter, "attributes")])
    error_message = "The filter of a pipeline compares attributes and has at most 256 bytes, for example \"attributes.state = \\\"TASK_STATE_COMPLETED\\\"\"; leave it out for all events. docs/events.md has more."
  }

  validation {
    condition     = alltrue(flatten([for p in values(var.pipelines) : [for m in p.members : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", m))]]))
    error_message = "The members of a pipeline must be serviceAccount:EMAIL, user:EMAIL, group:EMAIL or domain:NAME: events are for nobody else."
  }
}

variable "secret_locations" {
  description = "Regions that keep the secrets, for example [\"europe-west1\"], where a policy forbids other ones. Empty: Google chooses. Other regions are other secrets, without their versions: choose before the first apply."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for l in var.secret_locations : can(regex("^[a-z]+-[a-z]+[0-9]+$", l))]) && length(distinct(var.secret_locations)) == length(var.secret_locations)
    error_message = "secret_locations must be a list of different regions, for example [\"europe-west1\", \"europe-west4\"]."
  }
}

variable "labels" {
  description = "Labels of everything that has labels, for the bill for example: { team = \"billing\" }."
  type        = map(string)
  default     = {}

  # https://cloud.google.com/resource-manager/docs/labels-overview#requirements
  validation {
    condition     = alltrue([for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v))])
    error_message = "labels must be small letters, digits, hyphens and underscores, at most 63 characters each, with names that begin with a letter."
  }
}

variable "budget" {
  description = "Amount a month, in whole units of the billing account's currency, of whose half, nine tenths and whole the account's administrators are told by e-mail: { account = \"000000-000000-000000\", amount = 100 }. It stops nothing."
  type        = object({ account = string, amount = number })
  default     = null

  validation {
    condition     = var.budget == null || try(can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.account)) && var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount, false)
    error_message = "budget must be { account = \"000000-000000-000000\", amount = 100 }, with the id that gcloud billing accounts list shows, and a whole amount."
  }
}

variable "images_kept" {
  description = "How many of the newest images are kept; older ones go when they are 30 days old. 0: all are kept."
  type        = number
  default     = 10

  validation {
    condition     = var.images_kept >= 0 && floor(var.images_kept) == var.images_kept
    error_message = "images_kept must be a whole number, for example 10, or 0 to keep all."
  }
}

variable "log_requests" {
  description = "failed: of the requests to worker and functions only those that fail are logged by Cloud Run, beside the lines of the programs themselves. all: every one, at the price of the log."
  type        = string
  default     = "failed"

  validation {
    condition     = contains(["failed", "all"], var.log_requests)
    error_message = "log_requests must be failed or all."
  }
}

variable "submissions" {
  description = "Topics to which pipelines publish lines and names of manifests, by name, and who may publish there (README.md)."
  type        = map(object({ members = optional(list(string), []) }))
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.submissions) : can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", name))])
    error_message = "submissions must be named by 1 to 40 small letters, digits and hyphens, beginning with a letter and not ending in a hyphen, for example nightly."
  }

  validation {
    condition     = alltrue(flatten([for s in values(var.submissions) : [for m in s.members : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", m))]]))
    error_message = "The members of a submission must be serviceAccount:EMAIL, user:EMAIL, group:EMAIL or domain:NAME: whoever publishes there acts as the principal that the access file names."
  }

  validation {
    condition     = length(var.submissions) == 0 || var.access == "secret"
    error_message = "submissions belong to principals of the access file: set access to secret."
  }
}

variable "input_buckets" {
  description = "Buckets whose objects the programs may read, so that callers whom the access file lets do so can name them as manifests."
  type        = set(string)
  default     = []

  # https://cloud.google.com/storage/docs/buckets#naming
  validation {
    condition     = alltrue([for b in var.input_buckets : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", b))])
    error_message = "input_buckets must be names of buckets without gs://, for example [\"acme-in\"]; the access file names folders."
  }
}
