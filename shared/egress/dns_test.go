package egress

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// Hostile is a resolver whose name server is reply. Reply turns a query into its answer, or
// returns false to hang up. The network is udp at first, and tcp after a truncated answer.
func Hostile(reply func(network string, m *dnsmessage.Message) bool) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for serveName(server, network, reply) == nil {
			}
		}()
		return client, nil
	}}
}

// Answering is a resolver that gives every name the addresses that answer returns.
func Answering(answer func(name string) []netip.Addr) *net.Resolver {
	return Hostile(func(_ string, m *dnsmessage.Message) bool {
		q := m.Questions[0]
		for _, addr := range answer(q.Name.String()) {
			Answer(m, q.Name, addr)
		}
		return true
	})
}

// Answer adds the record of addr to m if m asks for its type.
func Answer(m *dnsmessage.Message, name dnsmessage.Name, addr netip.Addr) {
	q := m.Questions[0]
	var body dnsmessage.ResourceBody
	switch {
	case addr.Is4() && q.Type == dnsmessage.TypeA:
		body = &dnsmessage.AResource{A: addr.As4()}
	case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
		body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
	default:
		return
	}
	m.Answers = append(m.Answers, dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Type: q.Type, Class: q.Class}, Body: body,
	})
}

// serveName answers one query. A pipe is not a packet connection, so messages are preceded
// by their length as over TCP.
func serveName(conn net.Conn, network string, reply func(network string, m *dnsmessage.Message) bool) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	packet := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, packet); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if !reply(network, &m) {
		return io.EOF
	}
	packet, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
	return err
}

// pipe dials a receiver that reads one request, writes answer and then no more.
func pipe(answer string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			in := bufio.NewReader(server)
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			if _, err := io.WriteString(server, answer); err != nil {
				return
			}
			_, _ = in.ReadByte() // until the client hangs up
		}()
		return client, nil
	}
}
