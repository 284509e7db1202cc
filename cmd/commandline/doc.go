// Package commandline owns what the command lines of our programs have in common: options
// that native programs also have, so that scripts and units for those go on working, and
// checks of all options.
//
//	logging.go  -v, -q, --verbosity, --color, --syslog
//	help.go     --help=plain
//	texts.go    options with empty or invalid values
//	meant.go    what a word was meant for
//	daemon.go   the main functions of daemons
package commandline
