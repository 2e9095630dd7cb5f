package agent

import "strings"

// advice is the remedy for a key that is no longer known, or looks like one of a secret.
func advice(key string) string {
	if key == "historyMessages" {
		return "conversation.tokens and conversation.tasks have taken its place: remove it, and set those if their defaults do not fit"
	}
	plain := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(key))
	for _, word := range []string{"secret", "password", "apikey", "credential"} {
		if strings.Contains(plain, word) {
			return "the definition holds no secrets: set them in the environment, for example GEMINI_API_KEY"
		}
	}
	return ""
}

// clip shortens a text of the file for an error message.
func clip(s string) string {
	const most = 64
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "..."
}
