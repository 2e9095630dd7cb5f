package task

// LimitWebhooks is the limit of a task's encoded webhooks.
const LimitWebhooks = limitWebhooks

// Watched is the number of records that are watched.
func (s *Topics) Watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}
