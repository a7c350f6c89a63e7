package registry

import (
	"net/http"
	"strings"
)

const (
	maxWarnings = 10
	maxWarning  = 500 // characters of one
)

// warnings hands on what a registry wants to be shown (distribution-spec,
// warnings), each text once, and no more than a few.
func (c *Client) warnings(resp *http.Response) {
	if c.Warn == nil {
		return
	}
	for _, h := range resp.Header.Values("Warning") {
		text, ok := warningText(h)
		if !ok {
			continue
		}
		c.mu.Lock()
		said := c.warned[text] || len(c.warned) >= maxWarnings
		if !said {
			c.warned[text] = true
		}
		c.mu.Unlock()
		if !said {
			c.Warn("registry " + c.domain + " warns: " + text)
		}
	}
}

// warningText reads the one form that means something: 299 - "text".
func warningText(h string) (string, bool) {
	rest, ok := strings.CutPrefix(h, `299 - "`)
	if !ok {
		return "", false
	}
	text, _ := paramValue(`"` + rest)
	text = strings.TrimSpace(clean(text))
	if r := []rune(text); len(r) > maxWarning {
		text = string(r[:maxWarning])
	}
	return text, text != ""
}
