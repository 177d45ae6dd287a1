// The work list of segment attention: which pages a tile of query rows has to meet, and which of their keys each row sees.
#pragma once
#include "plan.cuh"
#include "types.cuh"

#define PAGE 64 // keys of a page, queries of a tile

typedef unsigned long long bits64;

// Query rows [row, row + rows) of one segment, in which the first has this place, and the segment's ranges.
struct Tile
{
    int row, rows, place, first_range, range_count, pad[3];
};

// One page of one range, as a tile comes to it.
struct Step
{
    int range, page;
    int page_end;          // of the range, as far as the tile sees it
    bits64 there;          // the page's keys that lie in the range and are not masked
    const element* data;
};

// Bits [from, to) of a page's 64; both may lie outside.
__device__ inline bits64 bits_between(int from, int to)
{
    from = max(from, 0);
    to = min(to, PAGE);
    return from < to ? ~0ull >> (PAGE - (to - from)) << from : 0;
}

// Which keys of the page the query at this place of its segment sees.
__device__ inline bits64 visible(const Range& range, int page, int query)
{
    int before = page * PAGE - range.start; // keys of the range before the page
    if (range.rule == RULE_DIAGONAL)
        return bits_between(0, query - before + 1);
    int reach = range.window / 2;
    int row = query / range.grid;
    int column = query - row * range.grid;
    int first = max(column - reach, 0);
    int end = min(column + reach, range.grid - 1) + 1;
    bits64 seen = 0;
    for (int r = max(row - reach, max(before, 0) / range.grid); r <= row + reach; r++)
    {
        int place = r * range.grid - before;
        if (place >= PAGE)
            break;
        seen |= bits_between(place + first, place + end);
    }

    return seen;
}

// Pages of a range that some row of the tile may see.
__device__ inline void enter(Step& step, const Range& range, const Tile& tile)
{
    int start = range.start;
    int end = range.end;
    if (range.rule == RULE_DIAGONAL)
        end = min(end, start + tile.place + tile.rows);
    if (range.rule == RULE_WINDOW)
    {
        int reach = range.window / 2;
        int last = tile.place + tile.rows - 1;
        long long row = tile.place / range.grid - reach;
        if (row > 0)
            start = (int)min((long long)end, start + row * range.grid + max(tile.place % range.grid - reach, 0));
        row = last / range.grid + reach;
        end = (int)min((long long)end, range.start + row * range.grid + min(last % range.grid + reach, range.grid - 1) + 1);
    }

    step.page = start / PAGE;
    step.page_end = start < end ? (end + PAGE - 1) / PAGE : step.page;
}

// The next page with a key for the tile; step.range is last_range where there is none.
__device__ inline void advance(
    Step& step, int last_range, const Range* __restrict__ ranges, const Tile& tile, int head, int heads,
    const bits32* __restrict__ key_mask, const bits32* __restrict__ head_masks, const element* const* __restrict__ pages)
{
    step.page++;
    for (;; step.page++)
    {
        while (step.page >= step.page_end)
        {
            if (++step.range >= last_range)
                return;
            if (!skips(ranges[step.range], head_masks, heads, head))
                enter(step, ranges[step.range], tile);
        }

        int from = ranges[step.range].start - step.page * PAGE;
        int to = ranges[step.range].end - step.page * PAGE;
        step.there = bits_between(from, to);
        if (key_mask)
        {
            bits32 low = from < 32 ? key_mask[2 * step.page] : 0;
            bits32 high = to > 32 ? key_mask[2 * step.page + 1] : 0;
            step.there &= (bits64)high << 32 | low;
        }

        if (step.there)
        {
            step.data = pages[step.page];
            return;
        }
    }
}
