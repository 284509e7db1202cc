// Agent runs in the virtual machine of the tests beside it, and does there what the
// tests ask for over a port: it runs programs, many at a time. As `agent take FILE` it
// stands for InfluxDB: what is pushed to it goes to a file.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// A Request asks for a program.
type Request struct {
	ID   int      `json:"id"`
	Args []string `json:"args"`
}

// An Answer tells how it has ended.
type Answer struct {
	ID   int    `json:"id"`
	Exit int    `json:"exit"`
	Out  string `json:"out"` // and standard error
}

func main() {
	do := serve
	if len(os.Args) == 3 && os.Args[1] == "take" {
		do = func() error { return take(os.Args[2]) }
	}
	if err := do(); err != nil {
		log.Fatal(err)
	}
}

func take(path string) error {
	l, err := net.Listen("tcp", "127.0.0.1:8094")
	if err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, c)
	return errors.Join(err, f.Close())
}

func serve() error {
	port, err := open()
	if err != nil {
		return err
	}
	var writing sync.Mutex
	tell := func(a Answer) error {
		writing.Lock()
		defer writing.Unlock()
		return json.NewEncoder(port).Encode(a)
	}
	if err := tell(Answer{}); err != nil { // the machine is up
		return err
	}
	for requests := json.NewDecoder(port); ; {
		var r Request
		if err := requests.Decode(&r); err != nil {
			return err
		}
		go func() {
			if err := tell(run(r)); err != nil {
				log.Print(err)
			}
		}()
	}
}

// open waits for the driver of the port.
func open() (*os.File, error) {
	for range 600 {
		if ports, _ := filepath.Glob("/dev/vport*p1"); len(ports) > 0 {
			return os.OpenFile(ports[0], os.O_RDWR, 0)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, errors.New("there is no port")
}

func run(r Request) Answer {
	var out bytes.Buffer
	c := exec.Command(r.Args[0], r.Args[1:]...)
	c.Stdout, c.Stderr = &out, &out
	// A program that goes on in the background may keep the output, which is a failure. On a
	// busy machine it takes a while to read what there is.
	c.WaitDelay = 30 * time.Second
	err := c.Run()
	a := Answer{ID: r.ID, Out: out.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		a.Exit = exit.ExitCode()
	case err != nil:
		a.Exit, a.Out = -1, a.Out+err.Error()
	}
	return a
}
