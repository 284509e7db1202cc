package hostnode

import (
	"fmt"
	"log/slog"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
)

// A logger is the log of virtual-kubelet. What is no trouble there is none of ours, either.
type logger struct{ log *slog.Logger }

var _ vklog.Logger = logger{}

func (l logger) Debug(args ...any)                 { l.log.Debug(fmt.Sprint(args...)) }
func (l logger) Debugf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l logger) Info(args ...any)                  { l.log.Debug(fmt.Sprint(args...)) }
func (l logger) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l logger) Warn(args ...any)                  { l.log.Warn(fmt.Sprint(args...)) }
func (l logger) Warnf(format string, args ...any)  { l.log.Warn(fmt.Sprintf(format, args...)) }
func (l logger) Error(args ...any)                 { l.log.Warn(fmt.Sprint(args...)) }
func (l logger) Errorf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }
func (l logger) Fatal(args ...any)                 { l.log.Error(fmt.Sprint(args...)) }
func (l logger) Fatalf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

func (l logger) WithField(key string, value any) vklog.Logger { return logger{l.log.With(key, value)} }

func (l logger) WithFields(fields vklog.Fields) vklog.Logger {
	log := l.log
	for key, value := range fields {
		log = log.With(key, value)
	}
	return logger{log}
}

func (l logger) WithError(err error) vklog.Logger { return logger{l.log.With("error", err)} }
