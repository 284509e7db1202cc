package supervise

// SpawnFaultless is Spawn for an actor into which no faults can be injected.
func (s *System) SpawnFaultless(name string, producer func() Actor, _ OnFailure) (*Ref, error) {
	ref := &Ref{system: s, ended: make(chan struct{})}
	pid, err := s.actors.Root.SpawnNamed(s.faultless(name, name, producer, nil, func() { close(ref.ended) }), name)
	ref.pid = pid
	return ref, err
}
