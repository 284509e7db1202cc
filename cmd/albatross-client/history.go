package main

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func historyCommand(d *daemon, out *printer, complete completer) *cobra.Command {
	return complete.aboutUnikernel(&cobra.Command{
		Use:   "history",
		Short: "Show the versions of a unikernel",
		Long: `Show what runs under the name of a unikernel, and what has run there before it was replaced: images,
when they were replaced and why, who had asked for them, and how they had ended if they had before they
were replaced. Who asks through an endpoint is known by the names and the serial number of the
certificates, as in the audit log of that. The last versions, of another image or with other arguments, stay on record with
their images (five, or what albatrossd --versions says), until the unikernel is destroyed.`,
		Example: "  albatross-client history web:site",
	}, func(c *cobra.Command, name messages.Name) error { return history(c.Context(), d, out, name) })
}

func history(ctx context.Context, d *daemon, out *printer, name messages.Name) error {
	conn, err := d.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	versions, err := conn.History(ctx, name)
	if err != nil {
		return err
	}
	users := d.users()
	if out.format == jsonFormat {
		return out.print(asciiJSON(toVersionObjects(versions, users)))
	}
	if len(versions.List) == 0 {
		out.message(info, out.of(name)+"it has replaced nothing")
	}
	var digests []string
	if versions.Now.OK {
		digests = append(digests, versions.Now.Value.Digest.String())
	}
	digests = append(digests, mapped(versions.List, func(v messages.FormerVersion) string { return v.Digest.String() })...)
	return out.print(out.rows(digests, historyTable(versions, users, time.Now())))
}

func historyTable(m messages.SuccessHistory, users users, now time.Time) table {
	t := table{rows: [][]string{{"VERSION", "REPLACED", "MEMORY", "BY", "ASKED FOR BY", "EXIT", "IMAGE"}}}
	if v := m.Now.Value; m.Now.OK {
		t.rows = append(t.rows, []string{"now", "-", mb(v.Memory), "-", users.askerText(v.By), "-", imageText(v.Digest) + originText(v.Origin)})
	}
	for i, v := range m.List {
		exit := "-"
		if v.Exit.OK {
			exit = v.Exit.Value.String()
		}
		t.rows = append(t.rows, []string{
			strconv.Itoa(i + 1), forHumans(now.Sub(v.Until)) + " ago", mb(v.Memory), escape(string(v.Cause)), users.askerText(v.By), exit, imageText(v.Digest) + originText(v.Origin),
		})
	}
	return t
}

// originText returns where an image is from, in a table.
func originText(o messages.Option[messages.Origin]) string {
	if !o.OK {
		return ""
	}
	return " from " + escape(string(o.Value))
}

// Users knows the names of users on the machine of the daemon; "": it does not.
type users func(uid uint32) string

// users returns those of this machine, if the daemon is on it.
func (d *daemon) users() users {
	return func(uid uint32) string {
		if d.destination.given() {
			return ""
		}
		u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
		if err != nil {
			return ""
		}
		return u.Username
	}
}

// askerText names who has asked for something.
func (u users) askerText(by messages.Option[messages.Asker]) string {
	if !by.OK {
		return "-"
	}
	name := cmp.Or(escape(u(by.Value.UID)), fmt.Sprintf("uid %d", by.Value.UID))
	if by.Value.For != "" {
		return escape(by.Value.For) + " through " + name
	}
	return name
}

// A versionObject is a version of a unikernel.
type versionObject struct {
	Version  int          `json:"version"`
	Image    string       `json:"image"`
	MemoryMB int          `json:"memory_mb"`
	Until    string       `json:"until,omitempty"`
	Cause    string       `json:"cause,omitempty"`
	By       *askerObject `json:"by,omitempty"`
	Exit     *exitObject  `json:"exit,omitempty"`
	Origin   string       `json:"origin,omitempty"`
}

// An askerObject is who has asked for a version.
type askerObject struct {
	UID  uint32 `json:"uid"`
	User string `json:"user,omitempty"`
	For  string `json:"for,omitempty"`
}

func toVersionObjects(m messages.SuccessHistory, users users) []versionObject {
	objects := []versionObject{}
	if m.Now.OK {
		objects = append(objects, toVersionObject(0, m.Now.Value, users))
	}
	for i, v := range m.List {
		objects = append(objects, toVersionObject(i+1, v, users))
	}
	return objects
}

func toVersionObject(number int, v messages.FormerVersion, users users) versionObject {
	o := versionObject{Version: number, Image: v.Digest.String(), MemoryMB: v.Memory, Until: timeJSON(v.Until), Cause: string(v.Cause), Origin: string(v.Origin.Value)}
	if by := v.By.Value; v.By.OK {
		o.By = &askerObject{UID: by.UID, User: users(by.UID), For: by.For}
	}
	if v.Exit.OK {
		o.Exit = &exitObject{} // nobody saw how
		if v.Exit.Value.Known {
			o.Exit = toExitObject(messages.Some(messages.End{Exit: v.Exit.Value}))
		}
	}
	return o
}
