//! Walks from endpoint to endpoint in an index, without reading what lies between: the text with which a statement begins,
//! and the relation `spot` that it makes. Their cost is the number of endpoints for which something waits.

/// Endpoints with somebody in their line, as `spot (shard, endpoint_id)`, in the index `delivery_line`.
///
/// SQLite uses only the first column of a row value for its search, so the next endpoint of the same shard and the first of
/// the next shard are asked for one after the other.
macro_rules! lines {
    () => {
        "\
    WITH RECURSIVE spot (shard, endpoint_id) AS (\
    SELECT * FROM (SELECT shard, endpoint_id FROM delivery WHERE status = 'PENDING' AND next_attempt_at IS NULL \
    ORDER BY shard, endpoint_id LIMIT 1) AS first \
    UNION ALL SELECT \
    CASE WHEN EXISTS (SELECT 1 FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard = spot.shard AND d.endpoint_id > spot.endpoint_id) THEN spot.shard ELSE \
    (SELECT d.shard FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard > spot.shard ORDER BY d.shard LIMIT 1) END, \
    coalesce((SELECT d.endpoint_id FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard = spot.shard AND d.endpoint_id > spot.endpoint_id ORDER BY d.endpoint_id LIMIT 1), \
    (SELECT d.endpoint_id FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard > spot.shard ORDER BY d.shard, d.endpoint_id LIMIT 1)) \
    FROM spot WHERE spot.shard IS NOT NULL)"
    };
}

/// Endpoints with something that waits for a time, as `spot (endpoint_id)`, in the index `delivery_endpoint_due`.
macro_rules! waits {
    () => {
        "\
    WITH RECURSIVE spot (endpoint_id) AS (\
    SELECT * FROM (SELECT endpoint_id FROM delivery WHERE next_attempt_at IS NOT NULL \
    ORDER BY endpoint_id LIMIT 1) AS first \
    UNION ALL SELECT \
    (SELECT d.endpoint_id FROM delivery AS d WHERE d.next_attempt_at IS NOT NULL \
    AND d.endpoint_id > spot.endpoint_id ORDER BY d.endpoint_id LIMIT 1) \
    FROM spot WHERE spot.endpoint_id IS NOT NULL)"
    };
}

pub(super) use {lines, waits};
