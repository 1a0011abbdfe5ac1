package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/coder/websocket"
)

// gateway is where a gateway listens (HOST:PORT), gatewayTLS where one does with TLS, whose certificate is in
// GATEWAY_CERTIFICATE. The user is `ann`, whose password is `secret`; to `forbidden.>` nobody may send, and from it
// nobody may receive.
var (
	gateway    = os.Getenv("GATEWAY")
	gatewayTLS = os.Getenv("GATEWAY_TLS")
)

// transport is a way to the gateway.
type transport string

const (
	tcp       transport = "tcp"
	secured   transport = "tls"
	overWS    transport = "websocket"
	overWSTLS transport = "websocket-tls"
)

var transports = []transport{tcp, secured, overWS, overWSTLS}

func trusting(t *testing.T) *tls.Config {
	pem, err := os.ReadFile(os.Getenv("GATEWAY_CERTIFICATE"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func (over transport) dial(t *testing.T, options *amqp.ConnOptions) (*amqp.Conn, error) {
	if options == nil {
		options = &amqp.ConnOptions{}
	}
	ctx := bounded(t)
	switch over {
	case tcp:
		return amqp.Dial(ctx, "amqp://"+gateway, options)
	case secured:
		options.TLSConfig = trusting(t)
		return amqp.Dial(ctx, "amqps://"+gatewayTLS, options)
	default:
		url := "ws://" + gateway + "/messaging"
		if over == overWSTLS {
			url = "wss://" + gatewayTLS + "/messaging"
		}
		handshake := &websocket.DialOptions{Subprotocols: []string{"amqp"}, HTTPClient: httpClient(t)}
		socket, _, err := websocket.Dial(ctx, url, handshake)
		must(t, err)
		socket.SetReadLimit(-1)
		return amqp.NewConn(ctx, websocket.NetConn(context.Background(), socket, websocket.MessageBinary), options)
	}
}

// peer is a session of a connection of its own.
type peer struct {
	t *testing.T
	*amqp.Session
	conn *amqp.Conn
}

func connect(t *testing.T, over transport, options *amqp.ConnOptions) *peer {
	t.Helper()
	conn, err := over.dial(t, options)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	session, err := conn.NewSession(bounded(t), nil)
	must(t, err)
	return &peer{t, session, conn}
}

func (p *peer) sender(target string, options *amqp.SenderOptions) *amqp.Sender {
	p.t.Helper()
	sender, err := p.NewSender(bounded(p.t), target, options)
	must(p.t, err)
	return sender
}

// receiver gives credit only as the test does, unless the options say otherwise.
func (p *peer) receiver(source string, options *amqp.ReceiverOptions) *amqp.Receiver {
	p.t.Helper()
	if options == nil {
		options = &amqp.ReceiverOptions{}
	}
	if options.Credit == 0 {
		options.Credit = -1
	}
	receiver, err := p.NewReceiver(bounded(p.t), source, options)
	must(p.t, err)
	return receiver
}

func send(t *testing.T, sender *amqp.Sender, bodies ...any) {
	t.Helper()
	for _, body := range bodies {
		must(t, sender.Send(bounded(t), &amqp.Message{Value: body}, nil))
	}
}

// next gives credit for a message and receives it.
func next(t *testing.T, receiver *amqp.Receiver) *amqp.Message {
	t.Helper()
	must(t, receiver.IssueCredit(1))
	message, err := receiver.Receive(bounded(t), nil)
	must(t, err)
	return message
}

// take receives and accepts messages; it returns their bodies.
func take(t *testing.T, receiver *amqp.Receiver, count int) []any {
	t.Helper()
	var bodies []any
	for range count {
		message := next(t, receiver)
		must(t, receiver.AcceptMessage(bounded(t), message))
		bodies = append(bodies, message.Value)
	}
	return bodies
}

// drain gives credit, receives what is to come for it, and has the rest of it used up; it returns what has come.
func (p *peer) drain(receiver *amqp.Receiver, credit uint32, count int) []*amqp.Message {
	p.t.Helper()
	must(p.t, receiver.IssueCredit(credit))
	var messages []*amqp.Message
	for range count {
		message, err := receiver.Receive(bounded(p.t), nil)
		must(p.t, err)
		messages = append(messages, message)
	}
	// A drain takes back what credit was not sent yet.
	p.sync()
	must(p.t, receiver.DrainCredit(bounded(p.t), nil))
	messages = append(messages, prefetched(receiver)...)
	equal(p.t, "messages until the drain was answered", len(messages), count)
	return messages
}

// sync returns when the gateway has worked on what was sent before.
func (p *peer) sync() {
	p.t.Helper()
	must(p.t, p.sender(unique("sync"), nil).Close(bounded(p.t)))
}

func prefetched(receiver *amqp.Receiver) []*amqp.Message {
	var messages []*amqp.Message
	for message := receiver.Prefetched(); message != nil; message = receiver.Prefetched() {
		messages = append(messages, message)
	}
	return messages
}

var names atomic.Int64

// unique returns a name that no other test uses.
func unique(prefix string) string {
	return fmt.Sprintf("%s.go.%d.%d", prefix, os.Getpid(), names.Add(1))
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused expects an error of the gateway's with this condition.
func refused(t *testing.T, err error, condition amqp.ErrCond) {
	t.Helper()
	var remote *amqp.Error
	if !errors.As(err, &remote) || remote.Condition != condition {
		t.Fatalf("%v instead of %s", err, condition)
	}
}

func equal[T any](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if !same(got, wanted) {
		t.Fatalf("%s: %#v instead of %#v", what, got, wanted)
	}
}
