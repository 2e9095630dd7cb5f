# What the definition of the agent asks of its installation: worker/agent/agent.yaml names
# settings and secrets, and the programs check them again at their start.

locals {
  agent = yamldecode(file("${path.module}/../worker/agent/agent.yaml"))

  # The model of agent.yaml, unless another one is chosen.
  model = var.model == "" ? "vertex:${local.agent.model}" : var.model

  agent_settings = { for s in try([for s in local.agent.settings : s], []) : s.name => {
    pattern  = local.setting_types[try(coalesce(s.type), "string")]
    required = try(s.default, null) == null
  } }
  agent_secrets = toset(try([for s in local.agent.secrets : s.name], []))

  # The types of settings, as shared/agent has them.
  setting_types = {
    string   = "^[^[:cntrl:]]+$"
    integer  = "^-?[0-9]{1,18}$"
    boolean  = "^(true|false)$"
    duration = "^([0-9]{1,5}(\\.[0-9]{1,3})?(ms|s|m|h)){1,4}$"
    url      = "^https?://[^[:cntrl:][:space:]/?#@]+([/?#][^[:cntrl:][:space:]]*)?$"
  }

  # As environment variables. A setting that is not given has the default of agent.yaml.
  settings = { for name, value in var.settings : "ERRAND_SETTING_${upper(name)}" => value if value != "" }
}
