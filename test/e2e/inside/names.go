package main

import (
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// serveNames answers each question for an address with 192.0.2.99, for ever.
func serveNames() error {
	pc, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	for buf := make([]byte, 4096); ; {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 99}},
			}}
		}
		if answer, err := m.Pack(); err == nil {
			pc.WriteTo(answer, from)
		}
	}
}
