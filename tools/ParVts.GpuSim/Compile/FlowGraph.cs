using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Compile;

/// <summary>Finds where the sides of each branch meet: the immediate post-dominators of the instructions.</summary>
internal static class FlowGraph
{
    /// <summary>Fills in <see cref="Instr.Join"/>; the number of instructions stands for the end.</summary>
    public static void Join(Instr[] code)
    {
        int end = code.Length;
        List<int>[] before = new List<int>[end + 1];
        for (int i = 0; i <= end; i++)
            before[i] = [];
        for (int i = 0; i < end; i++)
        {
            foreach (int next in After(code, i))
                before[next].Add(i);
        }
        // Cooper, Harvey and Kennedy's iteration on the reversed graph, in reverse postorder from the end.
        int[] order = Order(before, end);
        int[] rank = new int[end + 1];
        Array.Fill(rank, -1);
        for (int i = 0; i < order.Length; i++)
            rank[order[i]] = i;
        int[] parent = new int[end + 1];
        Array.Fill(parent, -1);
        parent[end] = end;
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int node in order)
            {
                if (node == end)
                    continue;
                int meet = -1;
                foreach (int next in After(code, node))
                {
                    if (parent[next] >= 0)
                        meet = meet < 0 ? next : Meet(meet, next, parent, rank);
                }
                if (meet != parent[node])
                {
                    parent[node] = meet;
                    changed = true;
                }
            }
        }
        for (int i = 0; i < end; i++)
            code[i].Join = parent[i] < 0 ? end : parent[i];
    }

    private static int Meet(int a, int b, int[] parent, int[] rank)
    {
        while (a != b)
        {
            while (rank[a] > rank[b])
                a = parent[a];
            while (rank[b] > rank[a])
                b = parent[b];
        }
        return a;
    }

    private static int[] Order(List<int>[] before, int end)
    {
        List<int> post = [];
        bool[] seen = new bool[end + 1];
        Stack<(int Node, int Next)> stack = new([(end, 0)]);
        seen[end] = true;
        while (stack.TryPop(out (int Node, int Next) top))
        {
            if (top.Next == before[top.Node].Count)
            {
                post.Add(top.Node);
                continue;
            }
            stack.Push((top.Node, top.Next + 1));
            int node = before[top.Node][top.Next];
            if (!seen[node])
            {
                seen[node] = true;
                stack.Push((node, 0));
            }
        }
        post.Reverse();
        return [.. post];
    }

    private static IEnumerable<int> After(Instr[] code, int i)
    {
        bool always = code[i].Guard < 0;
        switch (code[i].Flow)
        {
            case Flow.Branch:
                yield return code[i].Target;
                break;
            case Flow.Exit:
                yield return code.Length;
                break;
            default:
                yield return i + 1;
                yield break;
        }
        if (!always)
            yield return i + 1;
    }
}
