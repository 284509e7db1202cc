package session

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// logChange logs who has changed something, or tried to. It logs nothing else of a
// command, whose arguments may be secrets; answers do not quote them.
func (s *session) logChange(c *supervise.Context, answer messages.Payload) {
	if s.changes == "" {
		return
	}
	peer := s.client.Peer()
	log := c.Log().With("command", s.changes, "name", s.header.Name, "uid", peer.UID, "pid", peer.PID)
	switch a := answer.(type) {
	case messages.Failure:
		log.Info("A command was refused", "answer", a.Text)
	case messages.SuccessText:
		if a.Text != messages.PolicyUnchanged { // the endpoint sends each policy before each command
			log.Info("A command was carried out", "answer", a.Text)
		}
	}
}
