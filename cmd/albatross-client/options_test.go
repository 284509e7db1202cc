package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMegabytes(t *testing.T) {
	parse := megabytes(parsePositive)
	for text, want := range map[string]int{"1": 1, "64": 64, "64M": 64, "64mb": 64, "1G": 1024, "2GB": 2048, "2gb": 2048} {
		got, err := parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"0":                    "invalid value '0', expected an integer from 1",
		"0G":                   "invalid value '0', expected an integer from 1",
		"-1":                   "invalid value '-1', expected an integer from 1",
		"":                     "invalid value '', expected an integer",
		"G":                    "invalid value 'G', expected an integer",
		"1.5G":                 "invalid value '1.5G', expected a number of MB, or one with a unit: 64M, 1G",
		"64K":                  "invalid value '64K', expected a number of MB, or one with a unit: 64M, 1G",
		"64 M":                 "invalid value '64 M', expected a number of MB, or one with a unit: 64M, 1G",
		"1\x1b[2J":             "invalid value '1\\027[2J', expected a number of MB, or one with a unit: 64M, 1G",
		"4611686018427387903G": "invalid value '4611686018427387903G': it is too large",
	} {
		_, err := parse(text)
		require.EqualError(t, err, want, text)
	}
	least, err := megabytes(parseInteger)("-5G")
	require.NoError(t, err)
	require.Equal(t, -5*1024, least)
	_, err = megabytes(parseInteger)("-4611686018427387904G")
	require.ErrorContains(t, err, "too large")
}
