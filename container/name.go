package container

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"

	"loper.run/internal/naming"
)

// CheckName says what is wrong with a container's or a volume's name.
func CheckName(name string) error { return naming.Check("name", name) }

// takeName claims the name for the container, or makes one up for "".
func (e *Engine) takeName(name, id string) (string, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return "", err
		}
		owner, err := e.take(nameDir, name, id)
		if errors.Is(err, os.ErrExist) && owner == id {
			return name, nil // by a renaming that was killed
		}
		if errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("name %q: %w by container %.12s: remove or rename it first", name, ErrNameTaken, owner)
		}
		return name, err
	}
	for try := 0; ; try++ {
		name := adjectives[rand.IntN(len(adjectives))] + "_" + nouns[rand.IntN(len(nouns))]
		if try > 3 {
			name += strconv.Itoa(rand.IntN(1 << (4 * min(try-3, 7))))
		}
		_, err := e.take(nameDir, name, id)
		if !errors.Is(err, os.ErrExist) {
			return name, err
		}
	}
}

// The words of made-up names: gaits and weathers, and what wanders in them.
var (
	adjectives = [...]string{
		"airy", "ample", "autumn", "balmy", "breezy", "bright", "brisk", "calm", "cheery", "clear",
		"cosy", "crisp", "dapper", "dawning", "dewy", "eager", "early", "easy", "even", "fleet",
		"fond", "fresh", "frosty", "gentle", "glad", "golden", "hale", "hardy", "hazy", "jaunty",
		"jolly", "keen", "kind", "lively", "loping", "lucid", "mellow", "merry", "mild", "misty",
		"moonlit", "nimble", "patient", "plucky", "polite", "quick", "quiet", "ready", "roaming", "rosy",
		"rustling", "sandy", "serene", "silken", "silver", "sleek", "snowy", "spry", "steady", "stilly",
		"sunlit", "supple", "sure", "swift", "tidy", "tranquil", "trotting", "vernal", "vivid", "warm",
		"wending", "windy", "wintry", "witty",
	}
	nouns = [...]string{
		"antelope", "badger", "beaver", "bison", "bobcat", "camel", "caribou", "cheetah", "civet", "coati",
		"cougar", "coyote", "crane", "curlew", "dingo", "dormouse", "eland", "elk", "ermine", "falcon",
		"ferret", "finch", "fox", "gazelle", "gecko", "genet", "gnu", "hare", "heron", "hoopoe",
		"ibex", "impala", "jackal", "jay", "jerboa", "kestrel", "kudu", "lark", "leveret", "linnet",
		"lynx", "marmot", "marten", "meerkat", "moose", "mustang", "newt", "ocelot", "oryx", "otter",
		"ounce", "panther", "pika", "plover", "polecat", "pony", "puma", "quokka", "raven", "reindeer",
		"saiga", "serval", "shrew", "siskin", "stoat", "swallow", "tapir", "tern", "vole", "wagtail",
		"weasel", "wolf", "wren", "zebu",
	}
)
