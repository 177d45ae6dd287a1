using System.Reflection;
using System.Runtime.InteropServices;

namespace ParVts.Native.Tests;

/// <summary>
/// Every function of the table begins with a <c>try</c> that catches everything: nothing comes before, not even a closure, for which there might
/// be no memory.
/// </summary>
public sealed class CallFrameTests
{
    private static MethodInfo[] Calls { get; } =
    [
        .. typeof(Api).Assembly.GetTypes().SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            .Where(method => method.GetCustomAttribute<UnmanagedCallersOnlyAttribute>() is not null),
    ];

    [Test]
    public void AllOfTheTableAreHere() => Assert.That(Calls, Has.Length.EqualTo(Header.Functions.Count + 1), "and parvts_get_api");

    [TestCaseSource(nameof(Calls))]
    public void NothingComesBeforeTheTry(MethodInfo call)
    {
        MethodBody body = call.GetMethodBody()!;
        ExceptionHandlingClause? frame = body.ExceptionHandlingClauses.FirstOrDefault(
            clause => clause.Flags == ExceptionHandlingClauseOptions.Clause && clause.CatchType == typeof(Exception));
        Assert.That(frame, Is.Not.Null, "a catch of Exception");

        // A debug build has a nop there.
        byte[] before = body.GetILAsByteArray()![..frame.TryOffset];
        Assert.That(before, Is.All.Zero, "what comes before the try (a lambda that captures a parameter makes its closure there)");
    }
}
