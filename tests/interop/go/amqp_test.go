// Package interop tries the gateway with go-amqp: connections, queues and topics, credit, settlement, what is refused.
package interop

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

var topic = []string{"topic"}

func same(one, other any) bool { return reflect.DeepEqual(one, other) }

func httpClient(t *testing.T) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trusting(t)}}
}

func TestMessagesPassAQueue(t *testing.T) {
	for _, over := range transports {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			peer, name := connect(t, over, nil), unique("q")
			send(t, peer.sender(name, nil), "one", "two", "three")
			equal(t, "bodies", take(t, peer.receiver(name, nil), 3), []any{"one", "two", "three"})
		})
	}
}

func TestMessagesOfATopicGoToAllWhoReceive(t *testing.T) {
	for _, over := range transports {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			peer, name := connect(t, over, nil), unique("t")
			receivers := []*amqp.Receiver{
				peer.receiver(name, &amqp.ReceiverOptions{SourceCapabilities: topic}),
				peer.receiver(name+".>", &amqp.ReceiverOptions{SourceCapabilities: topic}),
				peer.receiver("topic://"+name, nil),
			}
			send(t, peer.sender(name, &amqp.SenderOptions{TargetCapabilities: topic}), "news")
			for _, receiver := range receivers {
				equal(t, receiver.Address(), take(t, receiver, 1), []any{"news"})
			}
		})
	}
}

func TestAClientLogsIn(t *testing.T) {
	t.Parallel()
	claiming := &amqp.Message{Value: "x", Properties: &amqp.MessageProperties{UserID: []byte("ann")}}
	for name, login := range map[string]amqp.SASLType{
		"plain": amqp.SASLTypePlain("ann", "secret"), "anonymous": amqp.SASLTypeAnonymous(), "no-sasl": nil,
	} {
		for _, over := range transports {
			peer := connect(t, over, &amqp.ConnOptions{SASLType: login})
			err := peer.sender(unique("q"), nil).Send(bounded(t), claiming, nil)
			if name == "plain" {
				must(t, err)
			} else {
				refused(t, err, amqp.ErrCondUnauthorizedAccess)
			}
		}
	}
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	for _, over := range []transport{tcp, overWS} {
		for _, login := range []amqp.SASLType{amqp.SASLTypePlain("ann", "wrong"), amqp.SASLTypePlain("nobody", "secret")} {
			_, err := over.dial(t, &amqp.ConnOptions{SASLType: login})
			if err == nil || !strings.Contains(err.Error(), "auth failed") {
				t.Fatal(err)
			}
		}
	}
}

func TestMessagesLargerThanAFrameComeWhole(t *testing.T) {
	for _, over := range []transport{tcp, overWS} {
		for _, size := range []uint32{512, 4096, 0} {
			t.Run(string(over), func(t *testing.T) {
				t.Parallel()
				peer, name := connect(t, over, &amqp.ConnOptions{MaxFrameSize: size}), unique("q")
				sender, receiver := peer.sender(name, nil), peer.receiver(name, nil)
				for _, length := range []int{0, 400, 5000, 100_000, 1_048_000} {
					body := bytes.Repeat([]byte{byte(length % 251)}, length)
					must(t, sender.Send(bounded(t), amqp.NewMessage(body), nil))
					message := next(t, receiver)
					must(t, receiver.AcceptMessage(bounded(t), message))
					if !bytes.Equal(message.GetData(), body) {
						t.Fatalf("%d bytes in frames of %d", length, size)
					}
				}
			})
		}
	}
}

func TestValuesKeepTheirTypes(t *testing.T) {
	t.Parallel()
	// go-amqp reads symbols as strings, and neither decimals, characters nor described values.
	at := time.UnixMilli(1_234_567_890_123)
	values := map[string]any{
		"bool": true, "ubyte": uint8(200), "ushort": uint16(60_000), "uint": uint32(4_000_000_000), "ulong": ^uint64(0),
		"byte": int8(-128), "short": int16(-30_000), "int": int32(-5), "long": int64(-1 << 63), "float": float32(0.5),
		"double": 1e300, "timestamp": at, "uuid": amqp.UUID{1, 2, 15: 3}, "binary": []byte{0, 255}, "string": "ä€𝄞",
	}
	annotations := amqp.Annotations{}
	for kind, value := range values {
		annotations["x-"+kind] = value
	}
	text := func(text string) *string { return &text }
	sequence := uint32(3)
	sent := &amqp.Message{
		Header:      &amqp.MessageHeader{Durable: true, Priority: 7},
		Annotations: annotations,
		Properties: &amqp.MessageProperties{
			MessageID: uint64(17), CorrelationID: amqp.UUID{5}, To: text("elsewhere"), Subject: text("kind"),
			ReplyTo: text("answers"), ContentType: text("text/plain"), ContentEncoding: text("gzip"), CreationTime: &at,
			GroupID: text("g"), GroupSequence: &sequence, ReplyToGroupID: text("r"),
		},
		ApplicationProperties: values,
		Value:                 "hello",
		Footer:                amqp.Annotations{"x-sum": int64(9)},
	}
	peer, name := connect(t, tcp, nil), unique("q")
	sender, receiver := peer.sender(name, nil), peer.receiver(name, nil)
	must(t, sender.Send(bounded(t), sent, nil))
	got := next(t, receiver)
	equal(t, "durable", got.Header.Durable, true)
	equal(t, "priority", got.Header.Priority, 7)
	equal(t, "annotations", got.Annotations, sent.Annotations)
	equal(t, "properties", got.Properties, sent.Properties)
	equal(t, "application properties", got.ApplicationProperties, sent.ApplicationProperties)
	equal(t, "footer", got.Footer, sent.Footer)
	must(t, receiver.AcceptMessage(bounded(t), got))

	bodies := []any{
		[]any{int64(1), []any{"two", nil, []any(nil)}, map[string]any{"three": []any{int32(4)}}},
		map[string]any{"a": map[string]any{"b": uint64(1)}, "c": strings.Repeat("x", 300)},
		// It writes an array of ints in one byte each where the largest fits, so this has none below -128.
		[]int32{-128, 70_000}, []string{"a", strings.Repeat("b", 300)}, []uint8{1}, []amqp.Symbol{"s", "t"},
	}
	for _, value := range values {
		bodies = append(bodies, value)
	}
	for _, body := range bodies {
		send(t, sender, body)
		equal(t, "a body", take(t, receiver, 1), []any{body})
	}
	must(t, sender.Send(bounded(t), &amqp.Message{Sequence: [][]any{{int64(1), "two"}, {true}}}, nil))
	equal(t, "sequences", next(t, receiver).Sequence, [][]any{{int64(1), "two"}, {true}})
	must(t, sender.Send(bounded(t), &amqp.Message{Data: [][]byte{{1}, {2, 3}}}, nil))
	equal(t, "data", next(t, receiver).Data, [][]byte{{1}, {2, 3}})
}

func TestOutcomesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	peer, name := connect(t, tcp, nil), unique("q")
	send(t, peer.sender(name, nil), "x")
	receiver := peer.receiver(name, nil)
	failures := func() uint32 {
		t.Helper()
		message := next(t, receiver)
		defer func() { must(t, receiver.ReleaseMessage(bounded(t), message)) }()
		if message.Header == nil {
			return 0
		}
		return message.Header.DeliveryCount
	}
	modify := func(options *amqp.ModifyMessageOptions) {
		t.Helper()
		must(t, receiver.ModifyMessage(bounded(t), next(t, receiver), options))
	}
	equal(t, "at first", failures(), 0)
	equal(t, "released", failures(), 0)
	modify(&amqp.ModifyMessageOptions{})
	equal(t, "modified without a flag", failures(), 0)
	modify(&amqp.ModifyMessageOptions{DeliveryFailed: true})
	equal(t, "a failed delivery", failures(), 1)
	modify(&amqp.ModifyMessageOptions{UndeliverableHere: true})
	peer.drain(receiver, 1, 0)
	receiver = peer.receiver(name, nil)
	equal(t, "undeliverable there", failures(), 1)
	must(t, receiver.RejectMessage(bounded(t), next(t, receiver), &amqp.Error{Condition: amqp.ErrCondNotAllowed}))
	dead := next(t, peer.receiver("DLQ."+name, nil))
	equal(t, "the dead letter", dead.Value, any("x"))
	equal(t, "its queue", dead.DeliveryAnnotations["x-opt-dlq-queue"], any("/queue/"+name))
	peer.drain(receiver, 1, 0)
}

func TestWhatIsNotSettledComesAgainWhenItsLinkCloses(t *testing.T) {
	t.Parallel()
	peer, name := connect(t, tcp, nil), unique("q")
	send(t, peer.sender(name, nil), "a", "b", "c")
	first := peer.receiver(name, &amqp.ReceiverOptions{Credit: 2})
	message, err := first.Receive(bounded(t), nil)
	must(t, err)
	must(t, first.AcceptMessage(bounded(t), message))
	must(t, first.Close(bounded(t)))
	equal(t, "the others", take(t, peer.receiver(name, nil), 2), []any{"b", "c"})
}

func TestAReceiverSettlesSecond(t *testing.T) {
	t.Parallel()
	peer, name := connect(t, tcp, nil), unique("q")
	durable := &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Value: "x"}
	must(t, peer.sender(name, nil).Send(bounded(t), durable, nil))
	receiver := peer.receiver(name, &amqp.ReceiverOptions{SettlementMode: amqp.ReceiverSettleModeSecond.Ptr()})
	// It waits until the gateway has settled.
	must(t, receiver.AcceptMessage(bounded(t), next(t, receiver)))
	must(t, receiver.Close(bounded(t)))
	peer.drain(peer.receiver(name, nil), 10, 0)

	// And the gateway, where a sender wants to settle last.
	second := &amqp.SenderOptions{RequestedReceiverSettleMode: amqp.ReceiverSettleModeSecond.Ptr()}
	sender := peer.sender(name, second)
	for body := range int64(150) {
		send(t, sender, body)
	}
	equal(t, "the last", take(t, peer.receiver(name, nil), 150)[149], any(int64(149)))
}

func TestWhatIsSentSettledIsTakenAndWhatIsReceivedSettledIsGone(t *testing.T) {
	t.Parallel()
	peer, name := connect(t, tcp, nil), unique("q")
	settled := amqp.SenderSettleModeSettled.Ptr()
	sender := peer.sender(name, &amqp.SenderOptions{SettlementMode: settled})
	for body := range int64(150) {
		send(t, sender, body)
	}
	peer.sync()
	receiver := peer.receiver(name, &amqp.ReceiverOptions{RequestedSenderSettleMode: settled})
	for body, message := range peer.drain(receiver, 100, 100) {
		equal(t, "in order", message.Value, any(int64(body)))
	}
	must(t, receiver.Close(bounded(t)))
	equal(t, "the next", take(t, peer.receiver(name, nil), 50)[0], any(int64(100)))
}

func TestNoMoreComesThanThereIsCreditFor(t *testing.T) {
	t.Parallel()
	peer, name := connect(t, tcp, nil), unique("q")
	sender, receiver := peer.sender(name, nil), peer.receiver(name, nil)
	send(t, sender, "1", "2", "3", "4", "5", "6")
	equal(t, "with credit for one", take(t, receiver, 1), []any{"1"})
	peer.sync()
	equal(t, "without credit", len(prefetched(receiver)), 0)
	for _, message := range peer.drain(receiver, 100, 5) {
		must(t, receiver.AcceptMessage(bounded(t), message))
	}
	peer.drain(receiver, 10, 0)
	send(t, sender, "later")
	peer.sync()
	equal(t, "when the credit was used up", len(prefetched(receiver)), 0)
	equal(t, "with new credit", take(t, receiver, 1), []any{"later"})
}

func TestADurableSubscriptionKeepsWhatComesWhileItsClientIsAway(t *testing.T) {
	t.Parallel()
	name, container := unique("t"), unique("container")
	client := func() (*peer, *amqp.Receiver) {
		peer := connect(t, tcp, &amqp.ConnOptions{ContainerID: container})
		return peer, peer.receiver(name, &amqp.ReceiverOptions{
			Name: "subscription", SourceCapabilities: topic, SourceDurability: amqp.DurabilityUnsettledState,
			SourceExpiryPolicy: amqp.ExpiryPolicyNever,
		})
	}
	durable := func(body string) *amqp.Message {
		return &amqp.Message{Header: &amqp.MessageHeader{Durable: true}, Value: body}
	}
	sender := connect(t, tcp, nil).sender(name, &amqp.SenderOptions{TargetCapabilities: topic})
	first, _ := client()
	must(t, first.conn.Close())
	must(t, sender.Send(bounded(t), durable("while away"), nil))
	_, receiver := client()
	equal(t, "bodies", take(t, receiver, 1), []any{"while away"})
	// That detaches with `closed`.
	must(t, receiver.Close(bounded(t)))
	must(t, sender.Send(bounded(t), durable("when it was deleted"), nil))
	again, receiver := client()
	again.drain(receiver, 10, 0)
}

func TestLinksWithANameInCommonShareASubscription(t *testing.T) {
	t.Parallel()
	name := unique("t")
	shared := func(number string) *amqp.Receiver {
		return connect(t, tcp, nil).receiver(name, &amqp.ReceiverOptions{
			Name: "s-" + name + "|" + number, SourceCapabilities: []string{"topic", "shared", "global"},
		})
	}
	receivers := []*amqp.Receiver{shared("1"), shared("2")}
	for _, receiver := range receivers {
		must(t, receiver.IssueCredit(5))
	}
	sender := connect(t, tcp, nil).sender(name, &amqp.SenderOptions{TargetCapabilities: topic})
	send(t, sender, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	seen := map[any]bool{}
	for _, receiver := range receivers {
		for range 5 {
			message, err := receiver.Receive(bounded(t), nil)
			must(t, err)
			seen[message.Value] = true
		}
	}
	equal(t, "different messages", len(seen), 10)
}

func TestASelectorSaysWhichMessagesCome(t *testing.T) {
	t.Parallel()
	peer := connect(t, tcp, nil)
	for _, kind := range []string{"queue", "topic"} {
		name, kinds := unique("s"), []string{kind}
		chosen := func(selector string) (*amqp.Receiver, error) {
			return peer.NewReceiver(bounded(t), name, &amqp.ReceiverOptions{
				SourceCapabilities: kinds, Credit: -1, Filters: []amqp.LinkFilter{amqp.NewSelectorFilter(selector)},
			})
		}
		receiver, err := chosen("colour = 'red' AND size > 2")
		must(t, err)
		sender := peer.sender(name, &amqp.SenderOptions{TargetCapabilities: kinds})
		for body, colour := range []string{"blue", "red", "red", "red", "blue", "red"} {
			properties := map[string]any{"colour": colour, "size": int32(body)}
			must(t, sender.Send(bounded(t), &amqp.Message{Value: int64(body), ApplicationProperties: properties}, nil))
		}
		equal(t, "bodies", take(t, receiver, 2), []any{int64(3), int64(5)})
		_, err = chosen("colour = ")
		refused(t, err, amqp.ErrCondInvalidField)
	}
}

func TestABrowserLeavesMessagesWhereTheyAre(t *testing.T) {
	t.Parallel()
	peer, name := connect(t, tcp, nil), unique("q")
	send(t, peer.sender(name, nil), "a", "b", "c")
	for range 2 {
		browser := peer.receiver(name, &amqp.ReceiverOptions{
			SourceDistributionMode:    amqp.SourceDistributionModeCopy,
			RequestedSenderSettleMode: amqp.SenderSettleModeSettled.Ptr(),
		})
		peer.drain(browser, 10, 3)
		must(t, browser.Close(bounded(t)))
	}
	equal(t, "bodies", take(t, peer.receiver(name, nil), 3), []any{"a", "b", "c"})
}

func TestARequestIsAnsweredByATemporaryQueue(t *testing.T) {
	t.Parallel()
	server, client, name := connect(t, tcp, nil), connect(t, overWS, nil), unique("q")
	requests := server.receiver(name, nil)
	replies := client.receiver("", &amqp.ReceiverOptions{DynamicAddress: true})
	address := replies.Address()
	question := &amqp.Message{Value: "question", Properties: &amqp.MessageProperties{ReplyTo: &address, CorrelationID: "c"}}
	must(t, client.sender(name, nil).Send(bounded(t), question, nil))
	request := next(t, requests).Properties
	// The anonymous terminus: each message says where it goes.
	relay := server.sender("", nil)
	answer := &amqp.MessageProperties{To: request.ReplyTo, CorrelationID: request.CorrelationID}
	must(t, relay.Send(bounded(t), &amqp.Message{Value: "answer", Properties: answer}, nil))
	reply := next(t, replies)
	equal(t, "reply", []any{reply.Value, reply.Properties.CorrelationID}, []any{"answer", "c"})
	_, err := server.NewReceiver(bounded(t), address, nil)
	refused(t, err, amqp.ErrCondUnauthorizedAccess)
	must(t, replies.Close(bounded(t)))
	refused(t, relay.Send(bounded(t), &amqp.Message{Value: "late", Properties: answer}, nil), amqp.ErrCondNotFound)
}

func TestAConnectionThatIsIdleIsKept(t *testing.T) {
	t.Parallel()
	peer := connect(t, tcp, &amqp.ConnOptions{IdleTimeout: 2 * time.Second})
	sender := peer.sender(unique("q"), nil)
	time.Sleep(3 * time.Second)
	send(t, sender, "x")

	// A close follows the open.
	conn, err := tcp.dial(t, &amqp.ConnOptions{IdleTimeout: 100 * time.Millisecond})
	if err == nil {
		<-conn.Done()
		err = conn.Err()
	}
	refused(t, err, amqp.ErrCondNotAllowed)
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	peer := connect(t, tcp, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("ann", "secret")})
	_, err := peer.NewReceiver(bounded(t), "forbidden.a", nil)
	refused(t, err, amqp.ErrCondUnauthorizedAccess)
	refused(t, peer.sender("forbidden.a", nil).Send(bounded(t), &amqp.Message{Value: "x"}, nil), amqp.ErrCondUnauthorizedAccess)
	_, err = peer.NewReceiver(bounded(t), "queue://a.*", nil)
	refused(t, err, amqp.ErrCondInvalidField)
	for _, target := range []string{"topic://a.*", "a..b"} {
		_, err = peer.NewSender(bounded(t), target, nil)
		refused(t, err, amqp.ErrCondInvalidField)
	}
	_, err = peer.NewSender(bounded(t), "topic://a", &amqp.SenderOptions{TargetCapabilities: []string{"queue"}})
	refused(t, err, amqp.ErrCondInvalidField)
	sender := peer.sender(unique("q"), nil)
	equal(t, "the largest message", sender.MaxMessageSize(), 1<<20)
	refused(t, peer.sender("", nil).Send(bounded(t), &amqp.Message{Value: "nowhere"}, nil), amqp.ErrCondInvalidField)
}
