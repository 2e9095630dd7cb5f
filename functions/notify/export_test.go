package notify

import "errand/shared/webhook"

// Know makes an origin known to an owner, as its first 2xx does.
func (n *Notifier) Know(owner, url string) {
	n.origins.mu.Lock()
	defer n.origins.mu.Unlock()
	n.origins.find(origin{owner, webhook.Host(url)}, n.now()).known = true
}
