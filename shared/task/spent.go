package task

// Spent is what the replies of a model have cost.
type Spent struct {
	Prompt  int64 `json:"prompt,omitempty"`
	Output  int64 `json:"output,omitempty"`
	Thought int64 `json:"thought,omitempty"`
	Cached  int64 `json:"cached,omitempty"`
	Replies int64 `json:"replies,omitempty"`
	Unknown int64 `json:"unknown,omitempty"`
}

// Add returns the sum.
func (s Spent) Add(o Spent) Spent {
	s.Prompt += o.Prompt
	s.Output += o.Output
	s.Thought += o.Thought
	s.Cached += o.Cached
	s.Replies += o.Replies
	s.Unknown += o.Unknown
	return s
}
