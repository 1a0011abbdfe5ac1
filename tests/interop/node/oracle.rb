# A WebSocket server that speaks draft 6 (Debian's ruby-em-websocket): echoes what it receives.
require 'em-websocket'

EM.run do
  signature = EM::WebSocket.run(host: '127.0.0.1', port: 0) do |socket|
    socket.onmessage { |text| socket.send_text(text) }
    socket.onbinary { |bytes| socket.send_binary(bytes) } if socket.respond_to?(:onbinary)
  end
  port, = Socket.unpack_sockaddr_in(EM.get_sockname(signature))
  puts "listening on #{port}"
  $stdout.flush
end
