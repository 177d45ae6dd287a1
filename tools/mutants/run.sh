#!/usr/bin/env bash
# Mutation tests (contract G8): plants one fault at a time in a copy of the sources and runs the test that has to notice.
# './build.sh mutants [WORD]' runs it; WORD picks the mutants whose names hold it. Prints a markdown table; fails where a
# mutant survives, where its place is not found any more, or where the unchanged sources do not pass.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
only=${1:-}

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 cp --parents -t "$copy")
cd "$copy"

rows=() survivors=0

# use PROJECT: the tests that are built and run from here on.
use() { project=$1; }

build() {
    dotnet build "tests/$project" -c Release -v quiet -nologo -clp:ErrorsOnly -p:RunAnalyzers=false -p:RestoreLockedMode=true >build.log 2>&1
}

# passes TEST...: true where every test of these names passes, and there is one.
passes() {
    local name filter=
    for name in "$@"; do filter+="${filter:+|}Name~$name"; done
    dotnet "tests/$project/bin/Release/net10.0/$project.dll" --progress off --no-ansi --filter "$filter" >test.log 2>&1
}

# mutant NAME FILE OLD NEW TEST: NEW in place of OLD (which must be there exactly once) must turn TEST red.
mutant() {
    local name=$1 file=$2 old=$3 new=$4 test=$5 text verdict
    [[ $name == *"$only"* ]] || return 0
    text=$(<"$file")
    if [[ $text != *"$old"* || ${text#*"$old"} == *"$old"* ]]; then
        verdict="**place not found**"
    else
        cp "$file" kept
        printf '%s\n' "${text/"$old"/"$new"}" >"$file"
        if ! build; then
            verdict="**does not build**"
            cat build.log >&2
        elif passes "$test"; then
            verdict="**survived**"
        else
            verdict=killed
        fi
        mv kept "$file"
        touch "$file" # newer than what was built of the mutant, or the next build would leave that as it is
    fi
    [ "$verdict" = killed ] || survivors=$((survivors + 1))
    echo "${verdict//\*/}: $name" >&2
    rows+=("| $name | \`${file#src/ParVts.Engine/}\` | \`$test\` | $verdict |")
}

killers=(
    Own_schedule_ Packed_paths_equal_two_separate_runs Rows_and_cache_are_as_long_as_planned Ties_go_to_the_lower_index
    Random_plans_keep_the_budget Path_weights_follow_the_log_sum_exp Paths_fuse_row_by_row Another_question_about_the_same_picture
    Decoding_equals_replaying_the_frozen_trace Probes_are_the_probabilities_of_the_plan What_rows_that_left_leave_behind_is_never_read
    Every_picture_is_ranked_by_its_own_attention What_is_measured_does_not_depend_on_what_was_cached
    A_thinned_layer_holds_the_rows_that_were_kept A_thinned_cache_is_never_cut_back_into A_frozen_row_leaves_the_layer_as_it_entered
    Compact_positions_run_without_gaps Several_pictures_share_or_split_the_budget Auto_fills_whole_tiles
    Without_a_class_token_the_stand_in A_wrong_file_is_refused A_plan_is_refused_while_the_session_works
    Freezing_goes_together_with_choosing A_probe_before_a_layer_sees Reading_choices_back_late_changes_nothing
    Similarities_are Heads_are_averaged
    A_further_turn_goes_on_to_the_bit Log_probabilities_are_of_the_raw_logits The_cache_knows_embeddings_by Weights_that_differ_are_another_model
)
# require TEST...: the unchanged sources build, and pass these tests of the project.
require() {
    build || { cat build.log >&2; echo "mutants: the sources do not build" >&2; exit 1; }
    passes "$@" || { tail -n 40 test.log >&2; echo "mutants: the unchanged sources do not pass" >&2; exit 1; }
}

use ParVts.Engine.Tests
require "${killers[@]}"
readonly engine=src/ParVts.Engine
mutant "path B is ignored" $engine/Models/ScheduleExecutor.cs \
    'device.FusePaths(workspace.Hidden, first, second, weights);' '' Own_schedule_parvts_1
mutant "path B sees path A" $engine/Scheduling/ScheduleState.Ranges.cs \
    'new KeyRange(0, cached + prefix, KeyRule.Full)' 'new KeyRange(0, cached + rest, KeyRule.Full)' Packed_paths_equal_two_separate_runs
mutant "the rest's keys stay in the cache" $engine/Models/ScheduleExecutor.cs \
    'kv.Truncate(layer, state.CachedRowsOf(layer) + state.StoredRowsOf(layer));' 'kv.Truncate(layer, kv.Length(layer));' Rows_and_cache_are_as_long_as_planned
mutant "a KV length is off by one" $engine/Models/ScheduleExecutor.cs \
    'state.CachedRowsOf(layer) + state.StoredRowsOf(layer));' 'state.CachedRowsOf(layer) + state.StoredRowsOf(layer) + 1);' \
    Rows_and_cache_are_as_long_as_planned
mutant "pruned before the decoder, and called ParVTS" $engine/Scheduling/Policies/ParVtsPolicy.cs \
    '&& _migrate.Value > 0;' '&& _migrate.Value > 99;' Own_schedule_parvts_1
mutant "fused one layer late" $engine/Scheduling/Policies/ParVtsPolicy.cs \
    'if (state.Layer != _migrate.Value)' 'if (state.Layer != _migrate.Value + 1)' Own_schedule_parvts_2
mutant "the fusion's weights are exchanged" $engine/Compute/Cpu/RowMoves.cs \
    'a[d] = weight * a[d] + other * b[d];' 'a[d] = other * a[d] + weight * b[d];' Paths_fuse_row_by_row
mutant "the log-sum-exp weighs the wrong path" $engine/Compute/Cpu/RowMoves.cs \
    'MathF.Exp(b - a)' 'MathF.Exp(a - b)' Path_weights_follow_the_log_sum_exp
mutant "mass over all keys, not the path's visual ones" $engine/Models/ScheduleExecutor.cs \
    'rows.RoleOf(row) == RowRole.Visual && rows.Paths[row] == rows.Paths[before]' 'true' Own_schedule_parvts_4
mutant "the lowest scores stay" $engine/Scheduling/Selection.cs \
    '(ulong)~Ordered(scores[place])' '(ulong)Ordered(scores[place])' Ties_go_to_the_lower_index
mutant "the device keeps the lowest scores" $engine/Compute/Cpu/Ranking.cs \
    '(int)bits < 0 ? ~bits : bits | 0x8000_0000' '(int)bits < 0 ? bits : ~bits & 0x7FFF_FFFF' Own_schedule_cls_prune_1
mutant "what was chosen is told by what stood for it" $engine/Scheduling/ScheduleState.Choices.cs \
    'real[choice.RankedTokens[i]] = ranked[choice.Places[choice.PlaceOf(i)]];' '_ = real[i];' Own_schedule_cls_prune_1
mutant "positions do not move with rows that the host does not know" $engine/Models/ScheduleExecutor.cs \
    'device.Convert(kept, positions.Slice(0, rows));' '' Reading_choices_back_late_changes_nothing
mutant "a group's survivors are taken for the first group's" $engine/Models/ScheduleExecutor.cs \
    'kept += group.Keep;' '' Reading_choices_back_late_changes_nothing
mutant "class-token attention of the first block" $engine/Models/VisionTower.cs \
    'block == _weights.Layers.Length - 1 && policy' 'block == 0 && policy' Own_schedule_cls_prune_1
mutant "the first row is probed, not the last" $engine/Models/ScheduleExecutor.cs \
    'asked[i] = QueryOf(state, named[i]);' 'asked[i] = 0;' Own_schedule_fastv_1
mutant "rotary positions stay behind when rows move" $engine/Models/Decoder.cs \
    'if (moved)' 'if (moved && layer < 0)' Own_schedule_fastv_1
mutant "a probe forgets the scale" $engine/Compute/Cpu/AttentionProbe.cs \
    'return work->Scale * product +' 'return product +' Probes_are_the_probabilities_of_the_plan
mutant "value: none adds values after all" $engine/Compute/Cpu/SegmentAttention.Tile.cs \
    'if (range.Value == ValueRule.Own)' 'if (range.Value != ValueRule.Sink)' Random_plans_keep_the_budget
mutant "another question takes the pruned cache" $engine/Generation/CachedTurns.cs \
    'return Math.Min(tokens, turn.Whole);' 'return tokens;' Another_question_about_the_same_picture
mutant "every picture has the first one's scores" $engine/Models/LlavaRun.cs \
    'Part(_activations!.ClassScores, image * rows, rows)' 'Part(_activations!.ClassScores, 0, rows)' Every_picture_is_ranked_by_its_own_attention
mutant "a path's mass forgets earlier turns" $engine/Models/ScheduleExecutor.cs \
    'new KeyRange(cached + row, cached + end, KeyRule.Full, ValueRule.None)' 'new KeyRange(row, end, KeyRule.Full, ValueRule.None)' \
    What_is_measured_does_not_depend_on_what_was_cached
mutant "a probe forgets earlier turns" $engine/Models/ScheduleExecutor.cs \
    'state.SetRowScores(cached, scores' 'state.SetRowScores(0, scores' What_is_measured_does_not_depend_on_what_was_cached
mutant "a thinned layer keeps its first rows" $engine/Models/LlavaRun.cs \
    '_device.KeepKeys(Kv.Layer(layer), piece, first);' '' A_thinned_layer_holds_the_rows_that_were_kept
mutant "a thinned cache is cut back into" $engine/Generation/CachedTurns.cs \
    'new Turn(0, 0, tokens,' 'new Turn(0, tokens, tokens,' A_thinned_cache_is_never_cut_back_into
mutant "frozen rows are computed" $engine/Scheduling/ScheduleState.Frozen.cs \
    'IsFrozen = _computed.Count < Rows.Count;' 'IsFrozen = false;' A_frozen_row_leaves_the_layer_as_it_entered
mutant "compact positions keep their gaps" $engine/Models/Decoder.cs \
    'if (policy.CompactPositions)' 'if (policy.CompactPositions && layer < 0)' Compact_positions_run_without_gaps
mutant "a budget for each picture is shared" $engine/Scheduling/VisualChoice.cs \
    '_total || state.Images <= 1' '_total || state.Images <= 100' Several_pictures_share_or_split_the_budget
mutant "auto misses the tile by one" $engine/Scheduling/TokenBudget.cs \
    'return Math.Min(visual, tiles * rowTile - otherRows);' 'return Math.Min(visual, tiles * rowTile - otherRows + 1);' Auto_fills_whole_tiles
mutant "the stand-in is said each time" $engine/Generation/Engine.cs \
    'Interlocked.Exchange(ref _warnedClassToken, 1) == 0' 'Interlocked.Exchange(ref _warnedClassToken, 1) >= 0' Without_a_class_token_the_stand_in
mutant "a newer policy file is read" $engine/Scheduling/PolicyFile.cs \
    'number != Version' 'number < Version' A_wrong_file_is_refused
mutant "a cut-off run reports the one before" $engine/Generation/Session.Generation.cs \
    '_trace.Clear();' '' A_plan_is_refused_while_the_session_works
mutant "policies are not asked after a step" $engine/Generation/Session.Generation.cs \
    '_policy.OnDecodeStep(_decodeState);' '' A_thinned_layer_holds_the_rows_that_were_kept
mutant "a stack asks its first policy alone" $engine/Scheduling/PolicyStack.cs \
    'policy.BeforeLayer(state);' 'policies[0].BeforeLayer(state);' Freezing_goes_together_with_choosing
mutant "a probe before a layer measures nothing" $engine/Models/ScheduleMeasures.cs \
    'device.PreProbe(query, store, state.Plan, _scale, ids, ProbeReduction.RowsAndHeads, scores);' '' A_probe_before_a_layer_sees
mutant "a saved cache forgets where it can be cut" $engine/Generation/CachedTurns.Saving.cs \
    'turn.Whole, turn.End,' 'turn.End, turn.End,' A_further_turn_goes_on_to_the_bit
mutant "a saved cache loses the last row of a page" $engine/Generation/Saving/KvPages.cs \
    'Math.Min(KvStore.PageRows, _kv.Length(layer) - page * KvStore.PageRows)' \
    'Math.Min(KvStore.PageRows, _kv.Length(layer) - page * KvStore.PageRows) - 1' A_further_turn_goes_on_to_the_bit
mutant "any weights of the same shapes are the same model" $engine/Generation/Saving/ModelFingerprint.cs \
    'bytes + tensor.ByteLength - count, count' 'bytes, count' Weights_that_differ_are_another_model
mutant "log-probabilities of what the penalty left" $engine/Generation/Session.Generation.cs \
    '_observer?.Look(_logits);' 'sampler?.Next(_logits); _observer?.Look(_logits);' Log_probabilities_are_of_the_raw_logits
mutant "embeddings are all one picture" $engine/Generation/Prompt.cs \
    'hash.AppendData(MemoryMarshal.AsBytes<float>(rows));' '' The_cache_knows_embeddings_by
mutant "the decoded token's position counts the rows that are left" $engine/Generation/Session.Generation.cs \
    'int position = prompt.Length + tokens.Count - 1;' 'int position = _run.Kv.Length(0);' Decoding_equals_replaying_the_frozen_trace
mutant "the trace counts half of the pairs' work" $engine/Scheduling/ScheduleTrace.cs \
    '2 * pairs * query' 'pairs * query' Own_schedule_dense_1

# The methods' rules, one by one.
require VisiPruner_ ShortV_ ZspaPrune_ VisionDrop_ Folder_ St3_ Yopo_ PyramidDrop_ SparseVlm_ VisionZip_ DivPrune_ Dart_ Tome_ PruMerge_ Max_min_takes \
    Others_join Pairs_merge Two_policies_run A_mask_survives The_cache_is_what_the_trace_says Keeping_all_equals Decoding_equals_replaying \
    A_second_turn_equals Another_question_about_the_same_picture_is_answered A_decode_step_under Published_numbers_fit
readonly policies=$engine/Scheduling/Policies
mutant "VisiPruner: quiet layers need not follow each other" $policies/VisiPrunerPolicy.cs \
    '_quiet + 1 : _consecutive ? 0 : _quiet;' '_quiet + 1 : _quiet;' VisiPruner_leaves_after
mutant "VisiPruner: quiet layers must follow each other" $policies/VisiPrunerPolicy.cs \
    '_quiet + 1 : _consecutive ? 0 : _quiet;' '_quiet + 1 : 0;' VisiPruner_leaves_after
mutant "VisiPruner: it decides a layer late" $policies/VisiPrunerPolicy.cs \
    'state.Layer > _shallow.Value + 1)' 'state.Layer > _shallow.Value + 2)' VisiPruner_probes
mutant "VisiPruner: decode steps see no shallow values" $policies/VisiPrunerPolicy.cs \
    'if (!_dropShallow || state.Step != 0)' 'if (state.Step != 0)' The_cache_is_what_the_trace_says
mutant "ShortV: the layer behind is frozen" $policies/ShortVPolicy.cs \
    '_layers.Values.Contains(state.Layer)' '_layers.Values.Contains(state.Layer - 1)' ShortV_
mutant "ZSPAPrune: the core is all" $policies/ZspaPrunePolicy.cs '(int)Math.Round(_core * keep)' 'keep' ZspaPrune_
mutant "VisionDrop: a stage takes the numbers of the one before" $policies/VisionDropPolicy.cs \
    'int place = _layers.Places[stage] + 1;' 'int place = _layers.Places[stage];' VisionDrop_
mutant "FOLDER: what the class token looks at is folded first" $policies/FolderPolicy.cs \
    'row => (float)_alpha' 'row => -(float)_alpha' Folder_
mutant "ST3: cuts are counted from 0" $policies/St3Policy.cs '_stride + 1;' '_stride;' St3_cuts
mutant "ST3: the cache is thinned by place" $policies/St3Policy.cs '_scores[i] = attention[visual[i]];' '_scores[i] = -i;' St3_thins
mutant "YOPO: visual rows see what is before them" $policies/YopoPolicy.cs \
    'keys.Role == RowRole.Visual && keys.Start == queries.Start;' 'false;' Yopo_
mutant "YOPO: heads that are off look at the picture while decoding" $policies/YopoPolicy.cs \
    'KeyRule.Full, value), switches: true, sets);' 'KeyRule.Full, value), switches: false, sets);' Decoding_equals_replaying
mutant "PyramidDrop: shares of what is left" $policies/PyramidDropPolicy.cs '_first * amount' 'visual * amount' PyramidDrop_
mutant "SparseVLM: text rows rate that the picture does not speak to" $policies/SparseVlmPolicy.cs \
    'shares[place] > mean' 'shares[place] < mean' SparseVlm_
mutant "SparseVLM: nobody has to leave" $policies/SparseVlmPolicy.cs 'visual.Length - 1));' 'visual.Length));' SparseVlm_
mutant "VisionZip: the class token is not counted" $policies/VisionZipPolicy.cs \
    'Math.Min(dominant, patches) - 1);' 'Math.Min(dominant, patches));' VisionZip_
mutant "VisionZip: those who join are added, not averaged" $engine/Scheduling/ContextualMerge.cs \
    '1f / members.Length' '1f' Others_join
mutant "DivPrune: the first is the token nearest to another" $engine/Scheduling/MaxMin.cs \
    'nearest[token] = Math.Min(nearest[token], 1f - similarity[token * n + other]);' \
    'nearest[token] = Math.Min(nearest[token], similarity[token * n + other]);' Max_min_takes
mutant "DART: the most similar stay" $policies/DartPolicy.cs 'scores.Add(-similarity[place]);' 'scores.Add(similarity[place]);' Dart_
mutant "ToMe: a merged row counts once" $policies/ToMePolicy.cs 'MathF.Log(members.Length)' '0f * members.Length' Tome_
mutant "ToMe: ties go to the higher row" $engine/Scheduling/PairMerge.cs '.ThenBy(i => i)' '.ThenByDescending(i => i)' Pairs_merge
mutant "PruMerge: a nearer fence" $policies/PruMergePolicy.cs 'third + 1.5 *' 'third + 0.5 *' PruMerge_
mutant "a choice takes a mask away" $engine/Scheduling/ScheduleState.Frozen.cs \
    $'            SetRangesPlan(_ranges);' $'            _ = _ranges;' A_mask_survives
mutant "a probe stays where its row was" $engine/Scheduling/ScheduleState.cs 'row = now;' '_ = now;' Two_policies_run
mutant "another question takes what an unmasked one would see" $engine/Generation/CachedTurns.cs \
    'bool whole = ordinary;' 'bool whole = true;' Another_question_about_the_same_picture_is_answered

# Policies with trained parts.
require Text_sees_the_projectors Routers_decide_as_their Tokens_are_ranked_as_the
mutant "ViCA: every layer shows visual tokens" $policies/ViCaPolicy.cs \
    'giveKeys: _layers.Values.Contains(state.Layer)' 'giveKeys: true' Text_sees_the_projectors
mutant "ViCA: a prefix that skips attention looks" $engine/Scheduling/ScheduleState.Frozen.cs \
    'if (!IsBlind(first))' '' Text_sees_the_projectors
mutant "DyVTE: staying is the exit" $policies/DyVtePolicy.cs \
    'logits[1] - logits[0]' 'logits[0] - logits[1]' Routers_decide_as_their
mutant "DyVTE: the last row is averaged as well" $policies/DyVtePolicy.cs \
    'state.Mean(text.AsSpan(..^1))' 'state.Mean(text)' Routers_decide_as_their
mutant "DyVTE: the coming layer's router is asked" $policies/DyVtePolicy.cs \
    'Ask(state.Layer - 1,' 'Ask(state.Layer,' Routers_decide_as_their
mutant "CoViPAL: text meets the visual tokens' weights" $policies/CoViPalPolicy.cs \
    'weights.Multiply(scorer.Inner, _hiddenSize,' 'weights.Multiply(scorer.Inner, 0,' Tokens_are_ranked_as_the

# What an analysis measures and knocks out.
require Figures_are_those_of_the_equations Every_row_sees_what_it_may New_tokens_are_forbidden Visual_tokens_that_do_not_see
mutant "an analysis watches the first row" $engine/Scheduling/AnalysisPolicy.cs \
    'state.Watch([state.Rows.Count - 1],' 'state.Watch([0],' Figures_are_those_of_the_equations
mutant "an analysis forgets the last layer" $engine/Scheduling/AnalysisPolicy.cs \
    'state.Step == 0 &&' 'state.Step < 0 &&' Figures_are_those_of_the_equations
mutant "a knocked-out row loses itself" $engine/Scheduling/Policies/KnockoutPolicy.cs \
    'else if (queries == keys)' 'else if (queries.Start < 0)' Every_row_sees_what_it_may
mutant "a knock-out before the softmax is one after it" $engine/Scheduling/Policies/KnockoutPolicy.cs \
    'else if (_after)' 'else if (_after || forbidden)' Every_row_sees_what_it_may
mutant "new tokens look at what the question may not" $engine/Scheduling/Policies/KnockoutPolicy.cs \
    '_pictured && ForText;' 'false;' New_tokens_are_forbidden

mutant "a row of zeros is like nothing but itself" $engine/Compute/Cpu/RowMeasures.cs \
    'divisor > 0 ? line[j] / divisor : 0f' 'line[j] / divisor' Similarities_are
mutant "heads are added, not averaged" $engine/Compute/Cpu/RowMeasures.cs \
    'TensorPrimitives.Divide(mean, heads, mean);' '' Heads_are_averaged

# Kernels, on the simulated GPU.
use ParVts.GpuSim.Tests
require Product A_row_depends A_row_of_a_few Tiles_meet_no_bank_twice Norm Rows_move Rows_merge_and_fuse Embed Patchify
mutant "a barrier of the pipeline is left out" kernels/matmul.cu \
    '        __syncthreads();' '' Product
mutant "the pipeline waits for one copy too few" kernels/matmul.cu \
    'copy_wait<STAGES - 2>();' 'copy_wait<STAGES - 1>();' Product
mutant "the copies are exchanged otherwise than the loads" kernels/matmul.cu \
    'copy_async(buffer + X_BYTES + place_of_w<DEPTH>(' 'copy_async(buffer + X_BYTES + place_of_x<DEPTH>(' Product
mutant "halves of a fragment are exchanged" kernels/matmul.cu \
    'multiply(sums[i][2 * j], a[i], b[j][0], b[j][1]);' 'multiply(sums[i][2 * j], a[i], b[j][1], b[j][0]);' Product
mutant "what lies behind a row is multiplied" kernels/matmul.cu \
    'max(0, min(16, left))' '(left > 0 ? 16 : 0)' Product
mutant "a tile reads rows that are not there" kernels/matmul.cu \
    'bool there = first_row + copy_row + row < rows;' 'bool there = true;' Product
mutant "the last group of tiles is taken for a full one" kernels/matmul.cu \
    'min(GROUP, tiles_m - group * GROUP)' 'GROUP' Product
mutant "a tile shape adds in another order" kernels/matmul.cu \
    'for (int k = 0; k < PIECES; k += 2)' 'for (int k = DEPTH == 64 ? PIECES - 2 : 0; k >= 0 && k < PIECES; k += DEPTH == 64 ? -2 : 2)' A_row_depends
mutant "rows of a buffer lie in the same banks" kernels/matmul.cu \
    '(row >> 1) & 3 : row & 7' '0 : 0' Tiles_meet_no_bank_twice
mutant "the bias is forgotten" kernels/epilogue.cuh \
    'if (bias)' 'if (bias && columns < 0)' Product
mutant "few rows: a warp's share is lost" kernels/gemv.cu \
    'for (int i = 1; i < THREADS / 32; i++)' 'for (int i = 2; i < THREADS / 32; i++)' Product
mutant "few rows: the end of a row is left out" kernels/gemv.cu \
    'k < inner; k += 8 * THREADS' 'k + 8 <= inner; k += 8 * THREADS' Product
mutant "the end of a row is stored in full" kernels/columns.cuh \
    'store4(float* row, int column, int columns, float4 v)
{
    if (column + 4 <= columns)' 'store4(float* row, int column, int columns, float4 v)
{
    if (column < columns)' Rows_move
mutant "the variance counts what is behind the row" kernels/norm.cu \
    'left > 3 ? v.w - mean : 0.0f' 'v.w - mean' Norm
mutant "a patch takes its neighbour's pixels" kernels/patch.cu \
    'line * p + at % p]' 'line * p + (at + 1) % p]' Patchify

use ParVts.Gpu.Tests
require Causal_attention Every_visible_key Path_tiles_cost Random_plans_keep_the_budget No_access_meets
readonly attention=kernels/segment_attention.cu tiles=kernels/tiles.cuh
mutant "attention: no barrier before the keys" $attention $'copy_wait<0>();\n        __syncthreads();' 'copy_wait<0>();' Causal_attention
mutant "attention: no barrier before the values" $attention $'copy_wait<1>();\n            __syncthreads();' 'copy_wait<1>();' Causal_attention
mutant "attention: values are not waited for" $attention 'copy_wait<1>();' 'copy_wait<2>();' Causal_attention
mutant "attention: two fragments of the keys are exchanged" $attention \
    'multiply(scores[2 * n], queries[k], b[0], b[1]);' 'multiply(scores[2 * n], queries[k], b[1], b[0]);' Causal_attention
mutant "attention: values of the wrong rows" $attention 'int value_row = lane & 15;' 'int value_row = lane & 7;' Causal_attention
mutant "attention: value: none is left out of the denominator" $attention \
    'sum[half] = fmaf(sum[half], correction[half], part);' \
    'sum[half] = fmaf(sum[half], correction[half], value == VALUE_NONE ? 0.0f : part);' Every_visible_key
mutant "attention: the diagonal is off by one" $tiles 'query - before + 1)' 'query - before)' Every_visible_key
mutant "attention: the window is a column short" $tiles \
    'min(column + reach, range.grid - 1) + 1;' 'min(column + reach, range.grid - 1);' Every_visible_key
mutant "attention: the output is not rescaled" $attention \
    'if (__any_sync(0xffffffffu, correction[0] != 1.0f || correction[1] != 1.0f))' 'if (false)' Causal_attention
mutant "attention: a sink's mass is not rescaled" $attention \
    'mass[half] = fmaf(mass[half], correction[half], part);' 'mass[half] += part;' Random_plans_keep_the_budget
mutant "attention: heads do not skip" $tiles 'if (!skips(ranges[step.range], head_masks, heads, head))' '' Every_visible_key
mutant "attention: masked keys are seen" $tiles 'step.there &= (bits64)high << 32 | low;' '' Every_visible_key
mutant "attention: a page is read beyond its keys" $attention \
    '(unsigned)(row + i - first) < (unsigned)count ? 16 : 0' '16' Causal_attention
mutant "attention: tiles go on beyond their diagonal" $tiles \
    'end = min(end, start + tile.place + tile.rows);' '' Path_tiles_cost
mutant "attention: keys lie unswizzled" $attention '#define SWIZZLE(row) ((row) & 7)' '#define SWIZZLE(row) 0' No_access_meets

require Decode_attention A_step_reads Rows_are_rotated Kept_keys Probes_are_the_plans Value_probes Similarities_are A_pairs_similarity \
    Heads_are_averaged Sizes_of_rows Keys_are_read A_readback
mutant "rows behind the length are read" kernels/pages.cuh \
    'row < rows ? 16 : 0' '16' Decode_attention
mutant "what was summed before is not rescaled" kernels/decode_attention.cu \
    'attended[h][e] *= correction;' '' Decode_attention
mutant "a page is overwritten while it is read" kernels/decode_attention.cu \
    'copy_wait<1>();
        __syncthreads();' 'copy_wait<1>();' Decode_attention
mutant "values are used before they came" kernels/decode_attention.cu \
    'copy_wait<2>();' 'copy_wait<3>();' Decode_attention
mutant "a step forgets the rows before it" kernels/decode_attention.cu \
    'length + (length_at ? *length_at : 0)' 'length' A_step_reads
mutant "an empty split counts" kernels/decode_combine.cu \
    'if (row[head_dim + 1] == 0.0f)
                continue;' '' Decode_attention
mutant "half of a head turns the other way" kernels/rope_store.cu \
    'y.x * c.x + x.x * s.x' 'y.x * c.x - x.x * s.x' Rows_are_rotated
mutant "a head's padding is not cleared" kernels/rope_store.cu \
    'd < DIM; d +=' 'd < HEAD_DIM; d +=' Rows_are_rotated
mutant "a row is moved before its place is read" kernels/pages.cu \
    '        __syncthreads();' '' Kept_keys
mutant "a probe sees one key too many" kernels/probe.cu \
    'sees(view.ranges[i], row.place, key)' 'sees(view.ranges[i], row.place + 1, key)' Probes_are_the_plans
mutant "a probe looks through skipped ranges" kernels/probe.cu \
    'return !skips(view.ranges[i], view.head_masks, heads, head);' 'return true;' Probes_are_the_plans
mutant "a probe loses its last part" kernels/probe.cu \
    'p < count; p++' 'p + 1 < count; p++' Probes_are_the_plans
mutant "probabilities are not squared" kernels/probe.cu \
    'fmaf(p * p, lengths[k]' 'fmaf(p, lengths[k]' Value_probes
mutant "a probe forgets the keys' biases" kernels/probe.cu \
    '(view.key_bias ? view.key_bias[at] : 0.0f) - lse[(long long)(lse_of_rows ? row.row : first_row' '0.0f - lse[(long long)(lse_of_rows ? row.row : first_row' Probes_are_the_plans
mutant "rows are overwritten while they are compared" kernels/similarity.cu \
    $'        __syncthreads();\n    }\n\n    put_norms(x_norms' $'    }\n\n    put_norms(x_norms' Similarities_are
mutant "rows that are not there are compared" kernels/similarity.cu \
    'next[i] = row < count ? load4' 'next[i] = row >= 0 ? load4' Similarities_are
mutant "a norm forgets half of its row" kernels/similarity.cu \
    'offset < LANES; offset <<= 1' 'offset < LANES / 2; offset <<= 1' Similarities_are
mutant "a row of zeros is like something" kernels/similarity.cu \
    'norms > 0.0f ? sums[i][j] / norms : 0.0f' 'sums[i][j] / norms' Similarities_are
mutant "a mean forgets the last head" kernels/sums.cu \
    'head < heads; head++' 'head + 1 < heads; head++' Heads_are_averaged
mutant "the end of a row has no size" kernels/sums.cu \
    'column < columns; column += 4 * THREADS' 'column + 4 <= columns; column += 4 * THREADS' Sizes_of_rows
mutant "keys are read as if they lay without padding" kernels/rope_store.cu \
    'const element* page = pages[stored / PAGE] + stored % PAGE * DIM;' 'const element* page = pages[stored / PAGE] + stored % PAGE * HEAD_DIM;' \
    Keys_are_read
mutant "a readback is looked at before it is there" $engine/Compute/Cuda/CudaDevice.Measures.cs \
    '_copied.Synchronize();' '' A_readback_is_of
mutant "a readback's memory goes while it is written" $engine/Compute/Cuda/CudaDevice.Measures.cs \
    'if (_isUnderWay)' 'if (!_isUnderWay)' A_readback_that_is_disposed

# What goes wrong, and what is left behind.
require Session,1 Prefill,1 CloseSession,1 CloseEngine,1 Two_sessions_of The_plan_is_held Each_compiler_call
readonly cuda=src/ParVts.Cuda
mutant "a session that does not open keeps its queue" $engine/Generation/Engine.cs 'device?.Dispose();' '' Session,1
mutant "half a staging ring is left behind" $engine/Compute/Cuda/StagingRing.cs $'Dispose();\n            throw;' 'throw;' Session,1
mutant "a failed wait is swallowed" $cuda/CudaStream.cs \
    'Context.Check(Context.Api.StreamSynchronize(Raw), "cuStreamSynchronize");' '_ = Context.Api.StreamSynchronize(Raw);' Prefill,1
mutant "half a vision cache is taken for a whole one" $engine/Models/LlavaRun.cs \
    $'if (needs.Pictures)\n        {' $'if (needs.Pictures && _visionKv is null)\n        {' Prefill,1
mutant "what could not be freed is forgotten" $cuda/CudaContext.cs 'if (!freed && !IsLost)' 'if (!freed && IsLost)' CloseSession,1
mutant "a context that was not released is forgotten" $cuda/CudaContext.cs '&& !_releasedOnce' '&& _releasedOnce' CloseEngine,1
mutant "a lost context is not noted" $cuda/CudaContext.cs '_state.Lose(error);' '_ = error;' Two_sessions_of
mutant "free memory is not looked at" $engine/Compute/MemoryPlan.cs 'missing > 0 && device.FreeBytes' 'missing < 0 && device.FreeBytes' The_plan_is_held
mutant "a compiler's program is left behind" $cuda/Compilation/KernelCompiler.cs '_ = _api.DestroyProgram(&program);' '' Each_compiler_call

# Whole runs on the simulated GPU.
require Path_A_is_the_run A_prefill_neither_waits A_decision_is_read_back The_cache_is_what_the_trace Decoding_is_as_near Tiles_that_nobody_sees Every_kernel_is_named
mutant "a run ignores path B" $engine/Models/ScheduleExecutor.cs \
    'device.FusePaths(workspace.Hidden, first, second, weights);' '' Path_A_is_the_run
mutant "a run reads a choice back at once" $engine/Models/ScheduleExecutor.cs \
    'if (!_defers || state.Pending.Count' 'if (_defers || state.Pending.Count' A_prefill_neither_waits
mutant "a decision waits for the whole layer" $engine/Compute/Cuda/CudaDevice.Measures.cs \
    '_copied.Synchronize();' '_stream.Synchronize();' A_decision_is_read_back
mutant "a run asks who leaves, though all do" $engine/Scheduling/ScheduleState.cs \
    'if (!visual.IsEmpty)' 'if (visual.Length >= 0)' A_prefill_neither_waits
mutant "positions of rows that the device chose stay behind" $engine/Models/ScheduleExecutor.cs \
    'device.Convert(kept, positions.Slice(0, rows));' '' The_cache_is_what_the_trace
mutant "the device's lengths are stale after rows have left" $engine/Compute/KvStore.cs \
    '_device.Upload<int>(_lengths, DeviceLengths);' 'if (_lengths[0] == _lengths[^1]) _device.Upload<int>(_lengths, DeviceLengths);' Decoding_is_as_near
mutant "a step does not count the lengths up" $engine/Models/Decoder.cs \
    'device.Increment(kv.DeviceLengths);' '' Decoding_is_as_near
mutant "path B's tiles go through path A" $engine/Scheduling/ScheduleState.Ranges.cs \
    'new KeyRange(0, cached + prefix, KeyRule.Full)' 'new KeyRange(0, cached + rest, KeyRule.Full)' Tiles_that_nobody_sees
mutant "a replay's launches are not told" $engine/Compute/Cuda/CudaDevice.Recording.cs \
    'CollectionsMarshal.GetValueRefOrAddDefault(_launches, kernel, out _) += launches;' '_ = launches;' Every_kernel_is_named

# What a C host calls.
use ParVts.Native.Tests
readonly native=src/ParVts.Native
require ACHostGetsTheEnginesBits ABadArgumentIsAStatus AWarmCallAllocatesNothing AKeepListIsThePolicy ProbabilitiesLogitsAndHidden ASavedSessionGoesOn
mutant "a host's kernels run on another stream" $engine/Compute/Cuda/CudaDevice.cs 'stream is nint own ?' 'stream is nint own && own < 0 ?' ACHostGets
mutant "a host's context is released for it" $cuda/CudaContext.cs $'if (_borrowed)\n' $'if (_borrowed && wasLost)\n' ACHostGets
mutant "a host's masks of heads are forgotten" $native/Items/PlanItem.cs 'AddHeadMasks(plan, info);' '_ = info;' ACHostGets
mutant "a host's step takes the capacity for the length" $native/HostMemory.cs $'(nint)info->Pages, info->Length,' $'(nint)info->Pages, capacity,' ACHostGets
mutant "a host's ranges may overlap" $native/Items/PlanItem.cs 'RequireApart(own, i);' '' ABadArgument
mutant "a host's matrix may lie anywhere" $native/HostMemory.cs '% (nuint)alignment != 0' '% (nuint)alignment < 0' ABadArgument
mutant "a call makes a closure" $native/Handles.cs 'if (handle == 0)
            throw new CallException(Status.BadHandle, $"the {Name' 'if (Name(T.Kind).Length == 0 || handle == 0)
            throw new CallException(Status.BadHandle, $"the {Name' AWarmCall
mutant "a host's keep-list forgets its layer" $native/Calls/SessionCalls.cs '.ToArray(), layer);' '.ToArray(), -1);' AKeepList
mutant "hidden rows forget their paths" $native/Calls/AnswerCalls.cs 'RowPath.Subject => 1' 'RowPath.Subject => 0' ProbabilitiesLogits

[ ${#rows[@]} -gt 0 ] || { echo "mutants: there is none with '$only' in its name" >&2; exit 2; }
echo "| planted fault | in | test | |"
echo "|---|---|---|---|"
printf '%s\n' "${rows[@]}"
echo
echo "${#rows[@]} mutants, $survivors not killed"
[ "$survivors" -eq 0 ]
