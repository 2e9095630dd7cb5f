// Package agent reads the definition of the agent: its name, its skills, the model that
// answers, and the limits. The definition is a YAML file whose keys are the fields of
// [Agent], so this documentation is its manual.
//
// It is data, not behaviour: the executor reads it to answer a message, and the agent card
// is derived from it. The agent's code in Go lies in worker/agent, beside the definition.
// A definition never holds a secret, only the names of secrets.
package agent

import (
	"fmt"

	"errand/shared/strict"
)

// An Agent is the content of agent.yaml. Parse fills in the defaults named
// here, trims surrounding white space from every text, and returns only
// definitions that are complete.
type Agent struct {
	// Name is what people and other agents call it. Required, one line.
	Name string `yaml:"name"`
	// Description says in a few sentences what it is for. Required.
	Description string `yaml:"description"`
	// Version is the agent's own version, in a format of your choice.
	// Required, one line.
	Version string `yaml:"version"`
	// DocumentationURL is where people read more. Optional, http or https.
	DocumentationURL string `yaml:"documentationUrl"`
	// IconURL is a picture of the agent. Optional, http or https.
	IconURL string `yaml:"iconUrl"`
	// Provider is who offers the agent. Optional.
	Provider *Provider `yaml:"provider"`
	// Model is the name of the model that answers, for example
	// gemini-3.6-flash. Required; ERRAND_MODEL wins over it.
	Model string `yaml:"model"`
	// Instructions are the system instructions of every model call. Optional.
	Instructions string `yaml:"instructions"`
	// InputModes are the media types the agent reads. image/* is any picture, */* is all.
	// Default: text/plain.
	InputModes []string `yaml:"inputModes"`
	// OutputModes are the media types it answers with. Default: text/plain.
	OutputModes []string `yaml:"outputModes"`
	// Skills are what it can do, for those who choose among agents. At least
	// one.
	Skills []Skill `yaml:"skills"`
	// Capabilities are what clients may ask of the agent beside sending and reading.
	Capabilities Capabilities `yaml:"capabilities"`
	// Extensions are the protocol extensions that the agent's own code supports;
	// they stand on its card. Default: none.
	Extensions []Extension `yaml:"extensions"`
	// Tools are the names of the Go tools of worker/agent that the model may
	// call. Default: none.
	Tools []string `yaml:"tools"`
	// Settings are the values that an installation chooses. Default: none.
	Settings []Setting `yaml:"settings"`
	// Secrets are the secrets that the agent's own code may read. Default: none.
	Secrets []Secret `yaml:"secrets"`
	// Limits bound what one turn may cost. Optional.
	Limits Limits `yaml:"limits"`
	// Conversation bounds what the model is shown of earlier messages. Optional.
	Conversation Conversation `yaml:"conversation"`
	// Prices of the model's tokens make the price of a task. Default: none.
	Prices *Prices `yaml:"prices"`
}

// Capabilities are the optional parts of the protocol, by their names on the card. One that is
// switched off is declared so, and refused. Each is on by default.
type Capabilities struct {
	// Streaming lets clients follow a task by an event stream.
	Streaming bool `yaml:"streaming"`
	// PushNotifications lets clients register webhooks. Those that were registered
	// before it was switched off are served as long as their tasks are kept.
	PushNotifications bool `yaml:"pushNotifications"`
}

// A Provider is who offers the agent. Both fields are required.
type Provider struct {
	// Organization is the provider's name.
	Organization string `yaml:"organization"`
	// URL is the provider's site, http or https.
	URL string `yaml:"url"`
}

// A Skill is one thing the agent can do.
type Skill struct {
	// ID names the skill in requests and logs. Required, unique, one line.
	ID string `yaml:"id"`
	// Name is for people. Required, one line.
	Name string `yaml:"name"`
	// Description says what it does, in detail enough to choose it. Required.
	Description string `yaml:"description"`
	// Tags are keywords to find it by. At least one.
	Tags []string `yaml:"tags"`
	// Examples are messages it can handle. Optional.
	Examples []string `yaml:"examples"`
	// InputModes replace the agent's own for this skill. Optional.
	InputModes []string `yaml:"inputModes"`
	// OutputModes replace the agent's own for this skill. Optional.
	OutputModes []string `yaml:"outputModes"`
	// Details are for callers who are known, on the extended card: what the description does
	// not tell everybody. Optional.
	Details string `yaml:"details"`
	// Private keeps the skill off the public card. Only callers to whom the access file
	// gives it see it, on the extended card. Default: false. At least one skill is public.
	Private bool `yaml:"private"`
}

// An Extension is a protocol extension (A2A 1.0, section 4.6). It is active in a request
// that asks for it; an executor finds the active ones in the SDK's call context.
type Extension struct {
	// URI names the extension and its version. Required, unique, absolute.
	URI string `yaml:"uri"`
	// Description says how the agent uses it. Optional.
	Description string `yaml:"description"`
	// Required refuses requests that do not ask for it. Default: false.
	Required bool `yaml:"required"`
}

// Limits bound one turn: the work on one message. One that is left out has its default. A
// turn that reaches a limit ends as failed, with a message that names its key.
//
// In one step Gemini 2.5 and 3 read up to 1,048,576 tokens and write up to 65,536, thoughts
// included. Vertex AI takes 65,535 for some of them.
// https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-6-flash
type Limits struct {
	// Steps is how often the model may be called. Default 16, from 1 to 256.
	Steps int `yaml:"steps"`
	// TurnTokens is how many tokens all steps together may use, read and
	// written. Each step reads the conversation again, so this is far more than the
	// conversation has. Default 1000000, from 1 to 10 million.
	TurnTokens int `yaml:"turnTokens"`
	// OutputTokens is how many tokens the answer of one step may have. Default
	// 16384, or TurnTokens if that is less; from 1 to TurnTokens.
	OutputTokens int `yaml:"outputTokens"`
	// ThoughtTokens is how many more tokens one step may have for thoughts. The
	// answer may take what thoughts leave, because the service has one bound for both:
	// both limits together must not be more than the model can write. Default
	// 32768, or TurnTokens if that is less; from 0 to TurnTokens.
	ThoughtTokens int `yaml:"thoughtTokens"`
	// RunMinutes is how long one run may work on a message. Then it goes on from
	// its steps, in another run. A run that brings none is tried again as often as
	// one that breaks, so no call of the model or a tool may take as long. Default
	// 29, from 3 to 29, because the queue waits for 30.
	RunMinutes int `yaml:"runMinutes"`
}

// A Conversation bounds what one request shows the model of the conversation before the
// message: the earlier turns of the task, and of other tasks of its context. It takes the
// newest turns. What it leaves out is named to the model in one line, which comes on top, and
// in the task's trace: as a number of messages, files by their names, and calls with effects
// one by one.
//
// Turns whose message was refused, or that ended before the model said anything, are left out.
type Conversation struct {
	// Tokens is how many tokens the earlier messages, files, calls and results may have, by
	// an estimate of 4 bytes each. A message that is so large that
	// limits.turnTokens leaves fewer gets fewer. Default: a
	// quarter of limits.turnTokens; from 0 to 1048576, and to limits.turnTokens.
	Tokens int `yaml:"tokens"`
	// Tasks is how many earlier tasks are read: those that the message names in
	// referenceTaskIds, and then the newest of its context. Default 20, from 0 to 99.
	Tasks int `yaml:"tasks"`
	// Tools is which steps of earlier turns are shown, with their calls and results: all of
	// them (all), or those that have a call with effects (effects). Default: all.
	Tools string `yaml:"tools"`
}

// Values of [Conversation].Tools.
const (
	ToolsAll     = "all"
	ToolsEffects = "effects"
)

// Bounds of a Conversation. As text, the tokens are 4 MiB, about as many as models read:
// https://ai.google.dev/gemini-api/docs/tokens
// A page of a list has 100 tasks, the one at work among them.
const (
	maxConversationTokens = 1 << 20
	maxConversationTasks  = 99
)

// Conversation is that of a definition which does not say more than these limits.
func (l Limits) Conversation() Conversation {
	return Conversation{Tokens: min(max(l.TurnTokens/4, 0), maxConversationTokens), Tasks: 20, Tools: ToolsAll}
}

// Bounds of RunMinutes. The least has room for a call of a tool that names no time limit, and the
// highest is task.LongestRun of errand/shared/task.
const (
	minRunMinutes = 3
	maxRunMinutes = 29
)

// maxSize bounds the file. An hour of instructions fits; a wrong file does not.
const maxSize = 256 << 10

// Load reads the definition at path. Without a path it reads embedded, which is the one
// in the binary. The error names every fault of the file at once.
func Load(path string, embedded []byte) (*Agent, error) {
	if path == "" {
		a, err := Parse(embedded)
		if err != nil {
			return nil, fmt.Errorf("reading the embedded agent.yaml:\n%w", err)
		}
		return a, nil
	}
	data, err := strict.Open(path, form)
	if err != nil {
		return nil, fmt.Errorf("reading the agent definition: %w", err)
	}
	a, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading the agent definition %s:\n%w", path, err)
	}
	return a, nil
}
