// Package commandline owns what several of our programs have in common on their
// command lines: options that the native ones have, too, so that scripts and units for
// those go on working, and what no option may say.
//
//	logging.go  -v, -q, --verbosity, --color, --syslog
//	help.go     --help=plain
//	texts.go    options that are given and say nothing
//	daemon.go   the mains of what goes on until it is told to end
package commandline
