defmodule MixAppTest do
  use ExUnit.Case

  import ExUnit.CaptureIO
  import IEx.Helpers, only: [h: 1]

  test "the configuration is that of the keyword lists" do
    assert :erlmcp_queue_limits.get_limit(:mix_role) == 2
    assert {:wait, 500, %{min: 5}} = :erlmcp_queue_limits.get_limit(:mix_wait)
    assert %{sheddable: 50} = :erlmcp_queue_limits.get_reserve(:mix_role)
    assert %{burst: 3} = :erlmcp_overload_rate.info(:mix_rate)
    assert %{memory: _} = :erlmcp_overload_node.pressure()
  end

  test "a wrong key is named" do
    Application.put_env(:erlmcp_native, :queue_limit, mix_role: 3)
    assert {:error, {:bad_config, %{key: :queue_limit}}} = :erlmcp_native_app.reload_config()
    Application.delete_env(:erlmcp_native, :queue_limit)
    assert :ok = :erlmcp_native_app.reload_config()
  end

  test "what is over the limit is refused" do
    assert capture_io(&MixApp.check/0) =~ "refused at the limit"
  end

  test "IEx has the documentation" do
    assert capture_io(fn -> h(:erlmcp_queue_limits) end) =~ "refusals instead of queues"
    assert capture_io(fn -> h(:erlmcp_queue_limits.try_enqueue/2) end) =~ "one atomic step"
  end
end
