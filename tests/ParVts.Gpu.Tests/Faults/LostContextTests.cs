using ParVts.Cuda;
using ParVts.Engine.Generation;

namespace ParVts.Gpu.Tests.Faults;

/// <summary>A kernel that fails takes the context along (contract M3): all who use it are told, and a new engine works.</summary>
[NonParallelizable]
internal sealed class LostContextTests
{
    [TestCase(true)]
    [TestCase(false)]
    public void Two_sessions_of_an_engine(bool oldFirst)
    {
        using var machine = new Machine();
        VlmEngine engine = machine.Open();
        int[] answer = Machine.Answer(engine);
        Session session = engine.CreateSession(Machine.Policy);
        Session other = engine.CreateSession("dense");
        Prompt prompt = Machine.Question(engine);
        _ = Machine.Answer(other, prompt);

        // A kernel that never ends: the watchdog's error, found when the host waits.
        machine.Sim.Gpu.InstructionLimit = 1;
        Assert.That(
            () => Machine.Answer(session, prompt),
            Throws.InstanceOf<CudaErrorException>().With.Message.Contain("CUDA_ERROR_LAUNCH_TIMEOUT (702)").And.Message.Contain("the context is lost"));
        machine.Sim.Gpu.InstructionLimit = 1L << 32;
        Assert.That(machine.Sim.Faults, Has.Count.EqualTo(1));
        long calls = machine.Sim.Calls;
        foreach (Action use in (Action[])[() => Machine.Answer(other, prompt), () => Machine.Answer(session, prompt), () => engine.CreateSession().Dispose()])
        {
            CudaContextLostException lost = Assert.Throws<CudaContextLostException>(use.Invoke)!;
            Assert.That(lost.Message, Does.Contain("CUDA_ERROR_LAUNCH_TIMEOUT (702)").And.Contain("Dispose the engine and open it again"));
        }

        Assert.That(machine.Sim.Calls, Is.EqualTo(calls), "the driver is left alone");
        if (oldFirst)
            DisposeOld();
        using (VlmEngine next = machine.Open())
        {
            Assert.That(Machine.Answer(next), Is.EqualTo(answer));
            if (!oldFirst)
                DisposeOld();
            Assert.That(Machine.Answer(next), Is.EqualTo(answer), "whoever lets go of the old one does the new one no harm");
        }

        Assert.That(machine.Sim.Leaks(), Is.Empty);
        Assert.That(machine.Sim.Faults, Has.Count.EqualTo(1));

        void DisposeOld()
        {
            other.Dispose();
            engine.Dispose();
            session.Dispose();
        }
    }
}
