// Who may look at whom (contract S), as a plan lies in device memory.
#pragma once

enum { RULE_FULL, RULE_DIAGONAL, RULE_WINDOW };
enum { VALUE_OWN, VALUE_NONE, VALUE_SINK };

// Keys [start, end) that the queries of a segment see; sink, window and grid where the rules ask for them; heads: the line of
// the head masks that names the heads which skip the range, or -1.
struct Range
{
    int start, end, rule, value, sink, window, grid, heads;
};

// Query rows [start, end), and where their ranges lie among all.
struct Segment
{
    int start, end, first_range, range_count;
};

// Whether the query at this place of its segment sees the key.
__device__ inline bool sees(const Range& range, int query, int key)
{
    if (key < range.start || key >= range.end)
        return false;
    int place = key - range.start;
    if (range.rule == RULE_FULL)
        return true;
    if (range.rule == RULE_DIAGONAL)
        return place <= query;
    int row = place / range.grid;
    int query_row = query / range.grid;
    return abs(row - query_row) <= range.window / 2
        && abs(place - row * range.grid - (query - query_row * range.grid)) <= range.window / 2;
}

// Whether the head leaves the range out. Masks: a line of (heads + 31) / 32 words for each set of heads.
__device__ inline bool skips(const Range& range, const unsigned* __restrict__ head_masks, int heads, int head)
{
    return range.heads >= 0 && (head_masks[range.heads * ((heads + 31) >> 5) + (head >> 5)] >> (head & 31) & 1) != 0;
}
