package task

// LimitWebhooks is the limit of a task's encoded webhooks.
const LimitWebhooks = limitWebhooks

// PutOff is how long a turn waits that must run apart and found its process busy.
const PutOff = putOff

// Watched is the number of records that are watched.
func (s *Topics) Watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}
