package runtime

import "os"

// gather opens the descriptors that the program names.
func (s *starting) gather(gate bool) error {
	if err := s.streams(s.options.Stdin, s.options.Stdout, s.options.Stderr, s.options.ConsoleSocket); err != nil {
		return err
	}
	for _, ns := range s.ns.joined {
		f, err := openNamespace(ns)
		if err != nil {
			return err
		}
		if err := changesHost(s.spec, ns.Type, f); err != nil {
			f.Close()
			return err
		}
		s.keep(namespaceInput(ns.Type), f)
	}
	if s.ns.nested {
		s.files[userParentInput] = s.options.UserParent
	}
	if beforePivot(s.spec) {
		null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		s.keep(hookNull, null)
	}
	if gate {
		gate, waiting, err := makeGate(s.container.dir)
		if err != nil {
			return err
		}
		s.keep(gateInput, gate)
		s.keep(waitingFile, waiting) // held, not used, by the program
		s.container.rememberGate(s.compiled.Program)
	}
	return nil
}

func (s *starting) keep(name string, f *os.File) {
	s.files[name] = f
	s.owned = append(s.owned, f)
}

// streams names the standard streams, or the console socket.
func (s *starting) streams(in, out, err, console *os.File) error {
	if console != nil {
		s.files[ConsoleInput] = console
	}
	for i, f := range []*os.File{in, out, err} {
		if f == nil {
			null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			s.keep(streamInputs[i], null)
			continue
		}
		s.files[streamInputs[i]] = f
	}
	return nil
}
