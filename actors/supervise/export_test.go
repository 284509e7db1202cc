package supervise

// SpawnFaultless is Spawn for an actor that is made as if there were no faults.
func (s *System) SpawnFaultless(name string, producer func() Actor, _ OnFailure) (*Ref, error) {
	ref := &Ref{system: s, ended: make(chan struct{})}
	pid, err := s.actors.Root.SpawnNamed(s.faultless(name, name, producer, nil, func() { close(ref.ended) }), name)
	ref.pid = pid
	return ref, err
}
