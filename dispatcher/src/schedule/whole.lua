-- ARGV: …, endpoint.
redis.call('SREM', more, ARGV[3])
return {0}
