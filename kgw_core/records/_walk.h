/* The walk over records in a buffer, without Python: _walk.c binds it, a test runs it under sanitizers.

   It reads nothing outside of the buffer: each length is compared with the bytes that are left before it is used. */

#include <stddef.h>
#include <stdint.h>

#define NULL_KEY 1
#define OUT_OF_ORDER 2

typedef const unsigned char *Place;

typedef struct {
    int flags;
    int64_t lowest, highest;
} Found;

/* A varint of at most 32 bits in 5 bytes, not zigzagged back. 0 if there is none before end. */
static inline int read32(Place *at, Place end, uint32_t *number)
{
    Place place = *at;
    uint64_t raw = 0;
    int shift;

    for (shift = 0; shift <= 28 && place < end; shift += 7) {
        unsigned char byte = *place++;
        raw |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            if (raw > UINT32_MAX)
                return 0;
            *at = place;
            *number = (uint32_t)raw;
            return 1;
        }
    }
    return 0;
}

/* A varint of at most 64 bits in 10 bytes, zigzagged back. */
static inline int read64(Place *at, Place end, int64_t *number)
{
    Place place = *at;
    uint64_t raw = 0;
    int shift;

    for (shift = 0; shift <= 63 && place < end; shift += 7) {
        unsigned char byte = *place++;
        if (shift == 63 && byte > 1)
            return 0;
        raw |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *at = place;
            *number = (int64_t)((raw >> 1) ^ (0 - (raw & 1)));
            return 1;
        }
    }
    return 0;
}

/* Past a length and as many bytes. A length of -1 is null: 2. 0 if it is not well formed. */
static inline int skip(Place *at, Place end)
{
    uint32_t raw;

    if (!read32(at, end, &raw))
        return 0;
    if (raw == 1)
        return 2;
    if (raw & 1 || (ptrdiff_t)(raw >> 1) > end - *at)
        return 0;
    *at += raw >> 1;
    return 1;
}

/* Whether these bytes are UTF-8 (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF. */
static inline int is_utf8(Place at, Place end)
{
    while (at < end) {
        unsigned char byte = *at++, low = 0x80, high = 0xBF;
        ptrdiff_t more;

        if (byte < 0x80)
            continue;
        if (byte < 0xC2 || byte > 0xF4)
            return 0;
        more = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
        if (byte == 0xE0)
            low = 0xA0;
        else if (byte == 0xED)
            high = 0x9F;
        else if (byte == 0xF0)
            low = 0x90;
        else if (byte == 0xF4)
            high = 0x8F;
        if (end - at < more || *at < low || *at > high)
            return 0;
        for (at++; more > 1; more--)
            if ((*at++ & 0xC0) != 0x80)
                return 0;
    }
    return 1;
}

/* Past the key of a header: a length that is not null, and as many bytes of UTF-8. */
static inline int skip_header_key(Place *at, Place end)
{
    uint32_t raw;

    if (!read32(at, end, &raw) || raw & 1 || (ptrdiff_t)(raw >> 1) > end - *at)
        return 0;
    if (!is_utf8(*at, *at + (raw >> 1)))
        return 0;
    *at += raw >> 1;
    return 1;
}

static int walk_records(Place at, Place stop, int64_t count, int frame, Found *found)
{
    uint64_t expected = 0;
    uint32_t raw, headers;
    int64_t delta;
    int key;

    for (; count > 0; count--, expected += 2) {
        Place start = at, end;

        if (!read32(&at, stop, &raw) || raw & 1 || (ptrdiff_t)(raw >> 1) > stop - at)
            return 0;
        if (at[-1] == 0 && at - start > 1) /* in more bytes than it needs */
            return 0;
        end = at + (raw >> 1);
        if (frame) {
            at = end;
            continue;
        }
        if (at == end || *at++ > 0x7F) /* attributes */
            return 0;
        if (!read64(&at, end, &delta))
            return 0;
        if (delta < found->lowest)
            found->lowest = delta;
        if (delta > found->highest)
            found->highest = delta;
        if (!read32(&at, end, &raw))
            return 0;
        if (raw != expected)
            found->flags |= OUT_OF_ORDER;
        key = skip(&at, end);
        if (!key)
            return 0;
        if (key == 2)
            found->flags |= NULL_KEY;
        if (!skip(&at, end))
            return 0;
        if (!read32(&at, end, &headers) || headers & 1)
            return 0;
        for (headers >>= 1; headers > 0; headers--)
            if (!skip_header_key(&at, end) || !skip(&at, end))
                return 0;
        if (at != end)
            return 0;
    }
    return at == stop;
}
